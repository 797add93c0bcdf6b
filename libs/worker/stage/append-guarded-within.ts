import { explain, withDeadline } from "@sluice/store";
import { sql } from "drizzle-orm";
import { commitSoon, type DrizzleHandlerTransaction } from "../consumer/handler-transaction.ts";
import type { StageAppend } from "./stage-outputs.ts";

/** Appends wait only for each other. */
const appendTimeoutMs = 30_000;

/**
 * Appends in a stage's own transaction to a topic that deduplicates or is bounded. Fails with QUEUE_FULL when there is no room for all
 * of it; the transaction is of no use then and has to be rolled back, which frees the topic for others.
 *
 * @param ring what to tell listeners with the commit; `null` for nothing
 */
export async function appendGuardedWithin(
  tx: DrizzleHandlerTransaction,
  { topic, entries }: StageAppend,
  ring: string | null,
): Promise<void> {
  const what = `appending to topic ${topic.name} in a stage's transaction`;
  // As text in text: sluice.append_guarded takes messages one by one, and the values keep their spelling.
  const messages = sql`(select json_agg(json_build_object('p', e.partition, 'k', r.key, 'v', r.value, 'a', r.attributes) order by e.number, r.number)
    from json_to_recordset(${JSON.stringify(entries.map((entry, number) => ({ ...entry, number })))}::text::json)
      as e(partition integer, keys text, records text, attributes text, number integer)
    cross join lateral rows from (
      json_array_elements(e.records::json), json_array_elements_text(e.keys::json), json_array_elements(e.attributes::json)
    ) with ordinality r(value, key, attributes, number))`;
  const appending = tx.execute(
    sql`select ${commitSoon}, sluice.append_guarded_within(${topic.number}, ${messages}, ${ring})`,
  );
  try {
    await withDeadline(appending, appendTimeoutMs, what);
  } catch (error) {
    throw explain(what, error);
  }
}
