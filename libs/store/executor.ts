import { SluiceError } from "@sluice/kernel";
import { type SQL, sql } from "drizzle-orm";
import type postgres from "postgres";
import { explain } from "./pool.ts";

/**
 * A transaction of the user's, as their library hands it out: drizzle's `tx` (any Postgres driver), or the `sql` that
 * postgres.js gives to `sql.begin`.
 */
export type UserTransaction = DrizzleTransaction | postgres.TransactionSql | postgres.ReservedSql;

/** What Sluice needs of drizzle's transaction. */
export interface DrizzleTransaction {
  execute(query: SQL): PromiseLike<unknown>;
}

/**
 * Runs `select <call>(arguments) as result` in the user's transaction and gives the result as text.
 *
 * Fails with INVALID_OPTIONS when `transaction` is neither of the above, else as any call to the database does. The
 * transaction is theirs: after a failure it is theirs to roll back.
 */
export async function callInTransaction(
  transaction: UserTransaction,
  what: string,
  call: "sluice.outbox_insert",
  [topic, messages, ring]: readonly [number, string, boolean],
): Promise<string> {
  try {
    const rows = await run(transaction, call, topic, messages, ring);
    return String(rows[0]?.["result"]);
  } catch (error) {
    throw explain(what, error);
  }
}

async function run(
  transaction: UserTransaction,
  call: string,
  topic: number,
  messages: string,
  ring: boolean,
): Promise<readonly Readonly<Record<string, unknown>>[]> {
  if (typeof transaction === "function") {
    return await transaction.unsafe(`select ${call}($1, $2::text::json, $3) as result`, [topic, messages, ring]);
  }
  if (typeof transaction === "object" && transaction !== null && typeof transaction.execute === "function") {
    const answer = await transaction.execute(
      sql`select ${sql.raw(call)}(${topic}, ${messages}::text::json, ${ring}) as result`,
    );
    // drizzle over postgres.js answers with the rows, over node-postgres and others with an object that holds them.
    return (Array.isArray(answer) ? answer : (answer as { rows: Record<string, unknown>[] }).rows) as Record<
      string,
      unknown
    >[];
  }
  throw new SluiceError("INVALID_OPTIONS", "tx must be a drizzle transaction or the sql of postgres.js's begin()");
}
