import { and, desc, eq } from "drizzle-orm";
import { alias } from "drizzle-orm/pg-core";
import { type Database, deliveries, users } from "./database.ts";

/** How far one channel is with one user. */
export interface Step {
  readonly state: "waiting" | "sent" | "refused";
  /** Milliseconds from the row's write to the provider's answer; null while it waits. */
  readonly afterMs: number | null;
  readonly attempt: number | null;
  /** Where the message stands in the log: `partition/offset`. */
  readonly position: string | null;
}

/** One sign-up and its steps, for the page. */
export interface RecentSignup {
  readonly id: string;
  readonly name: string;
  readonly email: string;
  readonly phone: string;
  readonly createdAt: string;
  readonly steps: { readonly email: Step; readonly sms: Step };
}

/** The newest sign-ups, newest first; at most `most`, default 12. */
export async function recentSignups(database: Database, most = 12): Promise<RecentSignup[]> {
  const [email, sms] = [alias(deliveries, "email"), alias(deliveries, "sms")];
  const rows = await database.orm
    .select({ user: users, email, sms })
    .from(users)
    .leftJoin(email, and(eq(email.userId, users.id), eq(email.channel, "email")))
    .leftJoin(sms, and(eq(sms.userId, users.id), eq(sms.channel, "sms")))
    .where(eq(users.way, "queued"))
    .orderBy(desc(users.createdAt))
    .limit(most);
  return rows.map(({ user, ...found }) => ({
    id: user.id,
    name: user.name,
    email: user.email,
    phone: user.phone,
    createdAt: user.createdAt.toISOString(),
    steps: { email: stepOf(found.email, user.createdAt), sms: stepOf(found.sms, user.createdAt) },
  }));
}

function stepOf(delivery: typeof deliveries.$inferSelect | null, createdAt: Date): Step {
  if (delivery === null) return { state: "waiting", afterMs: null, attempt: null, position: null };
  return {
    state: delivery.state,
    afterMs: Math.max(0, delivery.settledAt.getTime() - createdAt.getTime()),
    attempt: delivery.attempt,
    position: `${delivery.partition}/${delivery.offset}`,
  };
}
