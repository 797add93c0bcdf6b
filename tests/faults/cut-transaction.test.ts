import { expect, setDefaultTimeout, test } from "bun:test";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { Pool } from "@sluice/store";
import { eventually, type FaultyProxy, startProxy, testDatabase } from "@sluice/testkit";

setDefaultTimeout(60_000);

const program = join(import.meta.dirname, "cut-transaction-process.ts");

/** Runs the program, with `cut` in the middle of its transaction. Resolves with what it said and how it ended. */
async function run(guarded: "yes" | "no", statements: number, cut: (proxy: FaultyProxy) => void) {
  await using database = await testDatabase();
  await using proxy = await startProxy(database.url);
  const child = spawn(process.execPath, [program], {
    env: { ...process.env, DATABASE_URL: proxy.url, GUARDED: guarded, STATEMENTS: String(statements) },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines: string[] = [];
  child.stdout.setEncoding("utf8").on("data", (text: string) => lines.push(...text.trim().split("\n")));
  const ended = once(child, "exit");
  // One that hangs is as bad as one that crashes.
  const limit = setTimeout(() => child.kill("SIGKILL"), 20_000);
  await eventually("the transaction is open", () => lines.includes("open"));
  cut(proxy);
  // What is between statements has heard of the cut before it goes on.
  if (proxy.connections === 0) await eventually("begin has rejected", () => lines.length > 1);
  child.stdin.write("go\n");
  await ended;
  clearTimeout(limit);
  return { lines: lines.slice(1), exitCode: child.exitCode };
}

const betweenStatements = (proxy: FaultyProxy) => proxy.cutAll();
const whileOneIsWritten = (proxy: FaultyProxy) => {
  void proxy.hold((statement) => statement.includes("::integer")).then((held) => held.cut());
};

for (const [where, statements, cut] of [
  ["between two statements", 1, betweenStatements],
  ["before its end", 0, betweenStatements],
  ["while a statement is written", 1, whileOneIsWritten],
] as const) {
  test(`a guarded transaction that is cut ${where} rejects, and the process and its client go on`, async () => {
    const { lines, exitCode } = await run("yes", statements, cut);
    expect(lines).toEqual([expect.stringMatching(/^rejected: (ECONNRESET|CONNECTION_CLOSED)$/), "alive"]);
    expect(exitCode).toBe(0);
  });
}

test("without the guard the driver throws where nobody can catch it (once this fails, the guard has had its time)", async () => {
  for (const statements of [0, 1]) {
    const { lines, exitCode } = await run("no", statements, betweenStatements);
    expect(lines).toEqual(["rejected: CONNECTION_CLOSED", "uncaught: TypeError"]);
    expect(exitCode).toBe(1);
  }
});

test("work that the pool does in a transaction, where no session is to be had, is told of a cut", async () => {
  await using database = await testDatabase();
  await using proxy = await startProxy(database.url);
  const pool = new Pool(proxy.url, { connections: 1, applicationName: "pooled", isPooled: true });
  const work = pool.alone(1_000, async (sql, isTransaction) => {
    expect(isTransaction).toBe(true);
    await sql.unsafe("select 1");
    proxy.cutAll();
    await eventually("it is cut", () => proxy.connections === 0);
    await sql.unsafe("select 2");
  });
  await expect(work).rejects.toThrow();
  const rows = await pool.query<{ alive: boolean }>("asking", "select true as alive");
  expect(rows).toEqual([{ alive: true }]);
  await pool.close();
});
