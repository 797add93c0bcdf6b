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

/** What Sluice calls in transactions of users, and the type that each argument is cast to. */
const calls = {
  "sluice.outbox_insert": ["integer", "json", "boolean"],
  "sluice.delayed_insert": ["integer", "json", "bigint", "bigint", "boolean"],
  "sluice.recall": ["text"],
  "sluice.answer": ["json", "boolean"],
} as const;

/**
 * Runs `select <call>(arguments) as result` in the user's transaction and gives the result as text; SQL null is `"null"`.
 * Arguments travel as text, whatever their type.
 *
 * Fails with INVALID_OPTIONS when `transaction` is neither of the above, else as any call to the database does. The
 * transaction is theirs: after a failure it is theirs to roll back.
 */
export async function callInTransaction(
  transaction: UserTransaction,
  what: string,
  call: keyof typeof calls,
  parameters: readonly (string | null)[],
): Promise<string> {
  try {
    const rows = await run(transaction, call, parameters);
    return String(rows[0]?.["result"]);
  } catch (error) {
    throw explain(what, error);
  }
}

async function run(
  transaction: UserTransaction,
  call: keyof typeof calls,
  parameters: readonly (string | null)[],
): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const types = calls[call];
  if (typeof transaction === "function") {
    const placeholders = types.map((type, index) => `$${index + 1}::text::${type}`);
    return await transaction.unsafe(`select ${call}(${placeholders.join(", ")})::text as result`, [...parameters], {
      prepare: true,
    });
  }
  if (typeof transaction === "object" && transaction !== null && typeof transaction.execute === "function") {
    const values = types.map((type, index) => sql`${parameters[index]}::text::${sql.raw(type)}`);
    const answer = await transaction.execute(
      sql`select ${sql.raw(call)}(${sql.join(values, sql`, `)})::text as result`,
    );
    // drizzle over postgres.js answers with the rows, over node-postgres and others with an object that holds them.
    return (Array.isArray(answer) ? answer : (answer as { rows: Record<string, unknown>[] }).rows) as Record<
      string,
      unknown
    >[];
  }
  throw new SluiceError("INVALID_OPTIONS", "tx must be a drizzle transaction or the sql of postgres.js's begin()");
}
