import { and, eq } from "drizzle-orm";
import type { HandlerContext, ValueOf } from "sluice";
import type { Activity } from "./activity.ts";
import { type Channel, type Database, deliveries } from "./database.ts";
import { RefusedByProvider } from "./providers/provider.ts";
import type { signups } from "./topics.ts";

/** The handler context of a message about a sign-up. */
export type SignupContext = HandlerContext<ValueOf<typeof signups>>;

/**
 * Sends what a message asks for, once as far as anybody can know, and records what became of it.
 *
 * The record and the consumer's position commit in one transaction, so a message is either settled and behind the
 * position or neither. A message that is settled is not sent again: neither after a crash, nor when an operator moves the
 * group back to replay the log.
 *
 * What remains: the process dies after the provider took the message and before that transaction committed. Nobody on
 * this side can tell then, so the message is sent again, with the same idempotency key: as Message-ID in a mail, as
 * header to the SMS provider. Whoever honours it drops the duplicate. The other order, record first, would lose messages
 * instead, and nobody would ever see it.
 */
export async function deliverOnce(
  database: Database,
  activity: Activity,
  context: SignupContext,
  channel: Channel,
  send: (idempotencyKey: string) => Promise<string>,
): Promise<void> {
  if (await isSettled(database, context.id, channel)) return;
  const outcome = await settle(() => send(`${context.id}.${channel}`));
  // Opened only now: a transaction that waits for a provider would hold a connection all the while.
  const transaction = await context.tx();
  await transaction.insert(deliveries).values({
    messageId: context.id,
    channel,
    userId: context.value.userId,
    ...outcome,
    attempt: context.attempt,
    partition: context.partition,
    offset: context.offset,
  });
  activity[outcome.state === "sent" ? channel : "refused"] += 1;
}

async function isSettled(database: Database, messageId: string, channel: Channel): Promise<boolean> {
  const rows = await database.orm
    .select({ state: deliveries.state })
    .from(deliveries)
    .where(and(eq(deliveries.messageId, messageId), eq(deliveries.channel, channel)));
  return rows.length > 0;
}

/** A refusal is an answer, not a failure: trying again would get it again, so it is recorded and the queue moves on. */
async function settle(send: () => Promise<string>): Promise<{ state: "sent" | "refused"; detail: string }> {
  try {
    return { state: "sent", detail: (await send()).slice(0, 500) };
  } catch (error) {
    if (error instanceof RefusedByProvider) return { state: "refused", detail: error.message.slice(0, 500) };
    throw error;
  }
}
