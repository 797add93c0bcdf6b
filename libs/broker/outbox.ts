import { callInTransaction, runInTransaction, type UserTransaction } from "@sluice/store";
import insertStatement from "./sql/insert-outbox.sql" with { type: "text" };

/** A message as it waits beside the log: its texts are JSON, and keep their spelling. */
export interface WaitingMessage {
  readonly partition: number;
  readonly key: string | null;
  readonly value: string;
  /** `null` when it has none. */
  readonly attributes: string | null;
}

/** Messages of one topic that are sent within a transaction. */
export interface OutboxEntry {
  /** The topic's number. */
  readonly topic: number;
  readonly messages: readonly WaitingMessage[];
  /** Wake the relay when the transaction commits. */
  readonly ring: boolean;
}

/** As sluice.outbox_insert and sluice.delayed_insert take them. */
export function messagesJson(messages: readonly WaitingMessage[]): string {
  const texts = messages.map(
    ({ partition, key, value, attributes }) =>
      `{"partition":${partition},"key":${JSON.stringify(key)},"value":${value},"attributes":${attributes}}`,
  );
  return `[${texts.join(",")}]`;
}

/**
 * Writes messages to the outbox, within the user's transaction. Resolves with their numbers, in order. Fails as `runInTransaction` does: the
 * transaction is the user's to roll back then.
 *
 * @param what names the call in errors, for people: `"sending to topic signups"`
 */
export async function keepInOutbox(
  transaction: UserTransaction,
  what: string,
  { topic, messages, ring }: OutboxEntry,
): Promise<readonly string[]> {
  const [message] = messages;
  if (message !== undefined && messages.length === 1 && !ring) {
    const { partition, key, value, attributes } = message;
    const parameters = [String(topic), String(partition), key, value, attributes];
    return [await runInTransaction(transaction, what, insertStatement, parameters)];
  }
  const parameters = [String(topic), messagesJson(messages), String(ring)];
  return (await callInTransaction(transaction, what, "sluice.outbox_insert", parameters)).split(",");
}
