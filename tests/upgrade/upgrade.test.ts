import { expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { migrate, migrations } from "@sluice/store";
import { dumpSchema, eventually, type TestDatabase, testDatabase } from "@sluice/testkit";
import postgres from "postgres";
import { app, consumer, silentLogger, topic } from "sluice";
import { z } from "zod";

setDefaultTimeout(60_000);

const numbered = z.object({ number: z.number() });
const orders = topic("orders", { schema: numbered, partitions: 2, key: ({ number }) => `customer-${number % 3}` });
const jobs = topic("jobs", { schema: numbered, partitions: 1, maxDepth: 2 });

/** A database as the schema of an older version left it, with a client to look into it. */
async function leftBy(version: number) {
  const database: TestDatabase = await testDatabase({ migrated: false });
  const sql = postgres(database.url, { max: 1, onnotice: () => undefined });
  await migrate(sql, { migrations: migrations.filter(({ number }) => number <= version) });
  const name = `left-by-${String(version).padStart(4, "0")}.sql`;
  await sql.unsafe(`begin;\n${readFileSync(join(import.meta.dirname, name), "utf8")}\ncommit;`);
  return {
    url: database.url,
    sql,
    async [Symbol.asyncDispose]() {
      await sql.end();
      await database[Symbol.asyncDispose]();
    },
  };
}

type Old = Awaited<ReturnType<typeof leftBy>>;

/** Offsets as the log has them, by partition; dense, whatever was done to them. */
async function logOf({ sql }: Old): Promise<readonly { partition: number; offsets: string }[]> {
  return await sql<{ partition: number; offsets: string }[]>`
    select partition, min("offset") || ' to ' || max("offset") || ', ' || count(*) as offsets
    from topics.orders group by partition order by partition`;
}

/** Numbers below `to`, without these. */
function numbers(to: number, without: readonly number[] = []): number[] {
  return Array.from({ length: to }, (_, number) => number).filter((number) => !without.includes(number));
}

/** An app of today on the database of then: what its handlers get, while `work` goes on. */
async function during(
  { url }: Old,
  work: (got: { readonly orders: readonly number[]; readonly jobs: readonly number[] }) => Promise<unknown>,
): Promise<{ readonly orders: number[]; readonly jobs: number[] }> {
  const got = { orders: [] as number[], jobs: [] as number[] };
  const shipping = consumer(orders, {
    group: "shipping",
    mode: "keyed",
    handler: (c) => void got.orders.push(c.value.number),
  });
  const working = consumer(jobs, { group: "working", handler: (c) => void got.jobs.push(c.value.number) });
  await using _running = await app({ topics: [orders, jobs], consumers: [shipping, working] }).start({
    url,
    logger: silentLogger,
  });
  await work(got);
  return got;
}

async function lagOf({ sql }: Old): Promise<number> {
  const [row] = await sql<{ lag: number }[]>`select sum(lag)::int as lag from sluice.lag`;
  return row?.lag ?? -1;
}

test("a database of 0004 is migrated under its messages: the group goes on where it was, and what waited comes", async () => {
  await using old = await leftBy(4);
  const { length } = await logOf(old);
  expect(length).toBe(2);
  const got = await during(old, async () => {
    await eventually("everything is done", async () => ((await lagOf(old)) === 0 ? true : undefined));
    await eventually("the outbox is empty", async () => {
      const [row] = await old.sql`select from sluice.outbox`;
      return row === undefined ? true : undefined;
    });
    await eventually("everything is done", async () => ((await lagOf(old)) === 0 ? true : undefined));
    // The letter of then can be handed over once more.
    const letters = await old.sql<{ outcome: string }[]>`
      select (sluice.redrive(array[dead_letter])).outcome from sluice.dead_letters`;
    expect(letters.map(({ outcome }) => outcome)).toEqual(["redriven"]);
    await eventually("the letter is done", async () => {
      const [row] = await old.sql`select from sluice.redriven_messages`;
      return row === undefined ? true : undefined;
    });
  });
  // Partition 0 has the even numbers: offsets 0, 1, 3 and 5 to 7 were done, 2 was dead.
  expect(got.orders.toSorted((a, b) => a - b)).toEqual(numbers(34, [0, 2, 6, 10, 12, 14]));
  expect([...(await logOf(old))]).toEqual([
    { partition: 0, offsets: "0 to 16, 17" },
    { partition: 1, offsets: "0 to 16, 17" },
  ]);
});

test("a database of 0014 is migrated with its retries, delays, pauses, schedules and bounds", async () => {
  await using old = await leftBy(14);
  const got = await during(old, async (sofar) => {
    await eventually("all that is not paused is done", async () =>
      sofar.jobs.length === 3 && sofar.orders.filter((number) => number % 2 === 0).length === 10 ? true : undefined,
    );
    expect(sofar.orders.filter((number) => number % 2 === 1)).toEqual([]);
    await old.sql`select sluice.resume_group('shipping')`;
    await eventually("everything is done", async () => (sofar.orders.length === 27 ? true : undefined));
  });
  // Partition 0 has the even numbers: offsets 0, 1, 3 and 5 to 7 were done, 2 was dead, 4 waited for its third attempt.
  expect(got.orders.toSorted((a, b) => a - b)).toEqual(numbers(34, [0, 2, 4, 6, 10, 12, 14]));
  expect(got.jobs).toEqual([0, 1, 2]);
  const [schedule] = await old.sql<{ name: string; next: string }[]>`
    select name, extract(year from next_run at time zone 'UTC')::text as next from sluice.schedules`;
  expect({ ...schedule }).toEqual({ name: "nightly", next: "9999" });
});

/** Append functions know until when a late repeat is to be looked for. */
function withoutTimes(dump: string): string {
  return dump.replaceAll(/'\d{4}-\d\d-\d\d [\d:.+]+'/g, "'(a time)'");
}

test.each([
  [4, "select sluice.create_topic('orders', 2); select sluice.roll_segment(1)"],
  [
    14,
    `select sluice.create_topic('orders', 2); select sluice.create_topic('jobs', 1); select sluice.guard_topic('jobs', max_depth => 2)`,
  ],
])(
  "the schema after an upgrade from %d is that of a fresh database, also what belongs to its topics",
  async (version, topics) => {
    await using old = await leftBy(version);
    await migrate(old.sql);
    await using fresh = await testDatabase();
    const sql = postgres(fresh.url, { max: 1, onnotice: () => undefined });
    try {
      await sql.unsafe(topics);
      expect(withoutTimes(await dumpSchema(old.sql))).toBe(withoutTimes(await dumpSchema(sql)));
    } finally {
      await sql.end();
    }
  },
);
