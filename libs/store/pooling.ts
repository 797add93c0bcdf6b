import { SluiceError } from "@sluice/kernel";
import type postgres from "postgres";
import { connectClient } from "./client.ts";
import { withDeadline } from "./deadline.ts";
import { explain } from "./pool.ts";

/**
 * What stands between a client's connection and the server's process: nothing; a pooler that gives each client a process of its own
 * for as long as it is connected (`session`), for each transaction (`transaction`), or for each statement (`statement`).
 */
export type Pooling = "none" | "session" | "transaction" | "statement";

/** Long enough for a slow network; where a pooler has no second connection to give, waiting longer does not help. */
const deadlineMs = 15_000;

/**
 * Who asks, one after the other. Whether a pooler hands out the process that became free last or the one that waited longest, one of the
 * two clients sees another process than before, or both see the same one.
 */
const asking = "abbabaabaababbabba";

/**
 * How the connections of a URL are pooled.
 *
 * A server tells each client the number of its process when it connects, for cancelling; a pooler makes up a number of its own. So
 * a process that is what was told is nobody's but this client's, which one statement shows. Otherwise there is a pooler, and two clients ask
 * in turns, within and without a transaction, which process they have: with one of their own each, it is always the same, and never the other's.
 *
 * Fails as any call to the database does; with DATABASE_TIMEOUT where the pooler has less than two connections to give.
 */
export async function findPooling(url: string, applicationName: string): Promise<Pooling> {
  const what = "connecting";
  const connect = () =>
    connectClient(url, { max: 1, prepare: false, connection: { application_name: applicationName } });
  const clients = [connect(), connect()] as const;
  try {
    return await withDeadline(look(clients, connect), deadlineMs, what);
  } catch (error) {
    throw explain(what, error);
  } finally {
    await Promise.all(clients.map((client) => client.end({ timeout: 0 })));
  }
}

async function look([a, b]: readonly [postgres.Sql, postgres.Sql], connect: () => postgres.Sql): Promise<Pooling> {
  const first = await ask(a);
  if (first.told === first.process) return "none";
  if (await refusesTransactions(connect)) return "statement";
  const seen = { a: new Set([first.process]), b: new Set<number>() };
  for (const who of asking) {
    const { process } = await ask(who === "a" ? a : b);
    seen[who === "a" ? "a" : "b"].add(process);
    if (isShared(seen)) return "transaction";
  }
  // Its transaction keeps one process busy meanwhile: a pooler that had handed out the same two by luck has to take another.
  await b.unsafe("begin");
  try {
    seen.b.add((await ask(b)).process);
    for (let times = 0; times < 3; times += 1) seen.a.add((await ask(a)).process);
  } finally {
    await b.unsafe("rollback");
  }
  return isShared(seen) ? "transaction" : "session";
}

function isShared({ a, b }: { readonly a: ReadonlySet<number>; readonly b: ReadonlySet<number> }): boolean {
  return a.size > 1 || b.size > 1 || !a.isDisjointFrom(b);
}

/** The process that answers, and the one that the client was told of when it connected. */
async function ask(sql: postgres.Sql): Promise<{ readonly process: number; readonly told: number }> {
  const rows = await sql.unsafe<{ process: number }[]>("select pg_backend_pid() as process");
  const process = rows[0]?.process;
  if (process === undefined) throw new SluiceError("INTERNAL", "the server did not tell its process");
  return { process, told: rows.state.pid };
}

/** Whether what `begin` begins is over when the next statement comes, or the pooler hangs up on it; twice, as any connection may be lost once. */
async function refusesTransactions(connect: () => postgres.Sql): Promise<boolean> {
  return (await losesTransaction(connect())) && (await losesTransaction(connect()));
}

async function losesTransaction(sql: postgres.Sql): Promise<boolean> {
  try {
    await sql.unsafe("select 1");
    const over = "select statement_timestamp() = transaction_timestamp() as over";
    return await sql.unsafe("begin").then(
      async () => (await sql.unsafe<{ over: boolean }[]>(over))[0]?.over === true,
      () => true,
    );
  } finally {
    await sql.end({ timeout: 0 });
  }
}
