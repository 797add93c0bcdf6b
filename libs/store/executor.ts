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
 * Runs `select <call>(arguments) as result` as {@link runInTransaction} does. Arguments travel as text, whatever their type.
 */
export async function callInTransaction(
  transaction: UserTransaction,
  what: string,
  call: keyof typeof calls,
  parameters: readonly (string | null)[],
): Promise<string> {
  const placeholders = calls[call].map((type, index) => `$${index + 1}::text::${type}`);
  const statement = `select ${call}(${placeholders.join(", ")})::text as result`;
  return await runInTransaction(transaction, what, statement, parameters);
}

/**
 * Runs a statement in the user's transaction that gives one row with a text `result`, and gives that; SQL null is `"null"`.
 *
 * Fails with INVALID_OPTIONS when `transaction` is neither of the above, else as any call to the database does. The
 * transaction is theirs: after a failure it is theirs to roll back.
 *
 * @param statement with `$1`, `$2`, … for the parameters
 */
export async function runInTransaction(
  transaction: UserTransaction,
  what: string,
  statement: string,
  parameters: readonly (string | null)[],
): Promise<string> {
  try {
    const rows = await run(transaction, statement, parameters);
    return String(rows[0]?.["result"]);
  } catch (error) {
    throw explain(what, error);
  }
}

async function run(
  transaction: UserTransaction,
  statement: string,
  parameters: readonly (string | null)[],
): Promise<readonly Readonly<Record<string, unknown>>[]> {
  if (typeof transaction === "function") {
    return await transaction.unsafe(statement, [...parameters], { prepare: true });
  }
  if (typeof transaction === "object" && transaction !== null && typeof transaction.execute === "function") {
    const answer = await transaction.execute(toDrizzle(statement, parameters));
    // drizzle over postgres.js answers with the rows, over node-postgres and others with an object that holds them.
    return (Array.isArray(answer) ? answer : (answer as { rows: Record<string, unknown>[] }).rows) as Record<
      string,
      unknown
    >[];
  }
  throw new SluiceError("INVALID_OPTIONS", "tx must be a drizzle transaction or the sql of postgres.js's begin()");
}

/** The statement without its comments, which may speak of parameters, and with each parameter in its place. */
function toDrizzle(statement: string, parameters: readonly (string | null)[]): SQL {
  const parts = statement.replaceAll(/^--.*\n/gm, "").split(/\$(\d+)/);
  return sql.join(parts.map((part, index) => (index % 2 === 0 ? sql.raw(part) : sql`${parameters[Number(part) - 1]}`)));
}
