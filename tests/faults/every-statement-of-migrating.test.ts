import { expect, setDefaultTimeout, test } from "bun:test";
import { isSluiceError } from "@sluice/kernel";
import { defineMigration, migrate, migrations } from "@sluice/store";
import { eventually, type FaultyProxy, type HeldStatement, startProxy, testDatabase } from "@sluice/testkit";
import postgres from "postgres";

setDefaultTimeout(120_000);

const list = [
  ...migrations.slice(0, 1),
  defineMigration(
    "0001_one",
    "-- breaking: no\ncreate table sluice.one (value integer); insert into sluice.one values (1);",
  ),
];

type Fault = (held: HeldStatement, sql: postgres.Sql) => Promise<void>;

const faults: Readonly<Record<string, Fault>> = {
  "unexpected error": async (held) => held.fail("XX000"),
  deadlock: async (held) => held.fail("40P01"),
  cut: async (held) => held.cut(),
  "server process ended": async (held, sql) => {
    await sql`select pg_terminate_backend(${held.backendPid})`;
    held.release();
  },
  "answer lost": async (held) => held.releaseUnanswered(),
};

interface Lane extends AsyncDisposable {
  readonly sql: postgres.Sql;
  readonly proxy: FaultyProxy;
}

async function openLane(): Promise<Lane> {
  const database = await testDatabase({ migrated: false });
  const proxy = await startProxy(database.url);
  const sql = postgres(database.url, { max: 3, onnotice: () => undefined });
  return {
    sql,
    proxy,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await sql.end();
      await database[Symbol.asyncDispose]();
    },
  };
}

/** Migrates by way of the proxy: what came of it, and never nothing. */
async function victim(proxy: FaultyProxy): Promise<"done" | "told"> {
  const sql = postgres(proxy.url, { max: 1, fetch_types: false, onnotice: () => undefined });
  const late = Promise.withResolvers<never>();
  const limit = setTimeout(() => late.reject(new Error("migrating hangs")), 15_000);
  try {
    return await Promise.race([migrate(sql, { migrations: list }).then(() => "done" as const), late.promise]);
  } catch (error) {
    if (!isSluiceError(error)) throw error;
    return "told";
  } finally {
    clearTimeout(limit);
    await sql.end({ timeout: 1 });
  }
}

/** What another process finds to do, and what is there in the end. */
async function wrongAfter({ sql }: Lane): Promise<string[]> {
  const { version } = await migrate(sql, { migrations: list });
  const rows = await sql<{ value: number }[]>`select value from sluice.one`;
  const recorded = await sql<{ number: number }[]>`select number from sluice.migrations order by number`;
  const problems: string[] = [];
  if (version !== 1) problems.push(`the version is ${version}`);
  if (rows.length !== 1) problems.push(`a migration was applied ${rows.length} times`);
  if (recorded.map(({ number }) => number).join() !== "0,1") problems.push("the ledger is not complete");
  await sql`drop schema sluice cascade`;
  return problems;
}

test("[N1] at every statement of migrating: whatever happens there, who migrates is told or done, and another goes on", async () => {
  const said: string[] = [];
  await using first = await openLane();
  first.proxy.observe = (statement) => said.push(statement);
  expect(await victim(first.proxy)).toBe("done");
  expect(await wrongAfter(first)).toEqual([]);
  expect(said.some((statement) => statement.includes("create table sluice.one"))).toBe(true);
  const cases = said.flatMap((_, number) => Object.keys(faults).map((fault) => ({ number, fault })));
  const problems: string[] = [];
  let struck = 0;
  const lane = async () => {
    await using here = await openLane();
    for (let next = cases.shift(); next !== undefined; next = cases.shift()) {
      const { number, fault } = next;
      let count = -1;
      const isIt = () => {
        count += 1;
        return count === number;
      };
      void here.proxy.hold(isIt).then(async (held) => {
        struck += 1;
        await faults[fault]?.(held, here.sql);
      });
      const outcome = await victim(here.proxy);
      const problem = await wrongAfter(here);
      if (problem.length > 0)
        problems.push(`${fault} at ${said[number]?.slice(0, 60)} (${outcome}): ${problem.join(", ")}`);
    }
  };
  const count = cases.length;
  await Promise.all(Array.from({ length: 6 }, lane));
  expect(problems).toEqual([]);
  expect(struck).toBe(count);
  console.log(`${count} cases at ${said.length} statements`);
});

test("[N1] who migrates and is paused in the middle of a migration is waited for, and both are done", async () => {
  await using lane = await openLane();
  const held = lane.proxy.hold((statement) => statement.includes("create table sluice.one"));
  const paused = victim(lane.proxy);
  const caught = await held;
  const other = migrate(lane.sql, { migrations: list });
  await eventually("the other waits for its turn", async () => {
    const waiting = await lane.sql`
      select from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())`;
    return waiting.length === 1;
  });
  caught.release();
  expect(await paused).toBe("done");
  expect((await other).applied).toEqual([]);
  expect(await wrongAfter(lane)).toEqual([]);
});
