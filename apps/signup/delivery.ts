import type { Database } from "@sluice/app-kit";
import { settle } from "@sluice/app-kit/outside";
import { and, eq, sql } from "drizzle-orm";
import type { HandlerContext, ValueOf } from "sluice";
import { type Channel, deliveries } from "./tables.ts";
import type { signups } from "./topics.ts";

/** The handler context of a message about a sign-up. */
export type SignupContext = HandlerContext<ValueOf<typeof signups>>;

/**
 * Sends what a message asks for, once as far as anybody can know, and records what became of it: the record and the
 * consumer's position commit in one transaction. A message that is settled is not sent again, neither after a crash nor
 * when an operator moves the group back to replay the log.
 *
 * What remains: the process dies after the provider took the message and before that transaction committed. Nobody on
 * this side can tell then, so the message is sent again, with the same idempotency key: as Message-ID in a mail, as
 * header to the SMS provider. Whoever honours it drops the duplicate. The other order, record first, would lose messages
 * instead, and nobody would ever see it.
 */
export async function deliverOnce(
  database: Database,
  context: SignupContext,
  channel: Channel,
  send: (idempotencyKey: string) => Promise<string>,
): Promise<void> {
  const { id: messageId, topic, partition, offset, attempt } = context;
  const own = and(eq(deliveries.messageId, messageId), eq(deliveries.channel, channel));
  if ((await database.orm.select({ state: deliveries.state }).from(deliveries).where(own)).length > 0) return;
  const outcome = await settle(() => send(`${messageId}.${channel}`));
  // Its row is there until this transaction commits.
  const redriven = sql`exists (select from sluice.redriven_messages r where r."group" = ${channel}
    and r.topic = ${topic} and r.partition = ${partition} and r."offset" = ${offset})`;
  // Opened only now: a transaction that waits for a provider would hold a connection all the while.
  const transaction = await context.tx();
  const { userId } = context.value;
  await transaction
    .insert(deliveries)
    .values({ messageId, channel, userId, ...outcome, attempt, redriven, partition, offset });
}
