import { recordSeparator } from "@sluice/log";
import { arrayLiteral, explain, withDeadline } from "@sluice/store";
import { sql } from "drizzle-orm";
import { commitSoon, type DrizzleHandlerTransaction } from "../consumer/handler-transaction.ts";
import type { StageAppend } from "./stage-outputs.ts";

/** Appends wait only for each other. */
const appendTimeoutMs = 30_000;

/**
 * Appends in a stage's own transaction: the last thing it does before it marks what it has done, because the locks are
 * held until the commit.
 *
 * @param ring what to tell listeners with the commit; `null` for nothing
 */
export async function appendWithin(
  tx: DrizzleHandlerTransaction,
  { topic, entries }: StageAppend,
  ring: string | null,
): Promise<void> {
  const what = `appending to topic ${topic.name} in a stage's transaction`;
  const keys = entries.every((entry) => entry.keys === null)
    ? null
    : entries.map((entry) => entry.keys ?? "[]").join(recordSeparator);
  const appending = tx.execute(
    sql`select ${commitSoon}, sluice.append_within(${topic.number}, ${arrayLiteral(entries.map((entry) => entry.partition))}::text::integer[],
      ${arrayLiteral(entries.map((entry) => entry.count))}::text::integer[], ${keys},
      ${entries.map((entry) => entry.records).join(recordSeparator)},
      ${entries.map((entry) => entry.attributes).join(recordSeparator)}, ${ring})::text`,
  );
  try {
    await withDeadline(appending, appendTimeoutMs, what);
  } catch (error) {
    throw explain(what, error);
  }
}
