import { expect, test } from "bun:test";
import { parseFilter, topic } from "@sluice/contract";
import { Pool, type StatementParameter } from "@sluice/store";
import { testDatabase } from "@sluice/testkit";
import { z } from "zod";
import { openTopic, PostgresLog, readerSettings } from "./index.ts";

interface Prepared extends Record<string, unknown> {
  readonly name: string;
  readonly parameters: number;
  readonly custom_plans: string;
  readonly generic_plans: string;
}

/** How what comes next in a segment is read that was empty at first and got very long: how it is planned, and by what it is found. */
async function readWhileItGrows(url: string, settings: Readonly<Record<string, string>>) {
  const options = { connections: 1, applicationName: "test", isDirect: true, settings };
  const pool = new Pool(url, options);
  try {
    const entry = await openTopic(pool, topic("numbers", { schema: z.number(), partitions: 1 }), { create: true });
    const log = new PostgresLog(pool);
    const segment = `sluice_log.topic_${entry.number}_segment_0`;
    for (const [first, last] of [
      [0, 9],
      [10, 29_999],
    ] as const) {
      await pool.query(
        "appending",
        `insert into ${segment} (segment, partition, base_offset, count, appended_at, records) select 0, 0, n, 1, now(), '[' || n || ']' from generate_series(${first}, ${last}) n`,
      );
      await pool.query("analyzing", `analyze ${segment}`);
      for (let read = 0; read < 8; read += 1) {
        const place = { topic: entry, partition: 0, from: last };
        const [next, ordinary] = [await log.read({ ...place, isNext: true }), await log.read(place)];
        expect([next.batches[0]?.values, ordinary.batches[0]?.values]).toEqual([[last], [last]]);
      }
    }
    const statements = await pool.query<Prepared>(
      "looking at statements",
      `select name, custom_plans, generic_plans, cardinality(parameter_types) as parameters from pg_prepared_statements
        where statement like '%floor(extract(%${segment}%' order by parameters`,
    );
    const plans = await Promise.all(
      statements.map(async ({ name, parameters }) => {
        const values = [0, 7, 8, 100].slice(0, parameters).join(", ");
        const rows = await pool.query("explaining", `explain execute "${name}"(${values})`);
        return rows.map((row) => row["QUERY PLAN"]).join("\n");
      }),
    );
    return {
      custom: statements.map(({ custom_plans }) => Number(custom_plans)),
      generic: statements.map(({ generic_plans }) => Number(generic_plans)),
      isByKey: plans.map((plan) => plan.includes("_pkey") && !plan.includes("Seq Scan")),
    };
  } finally {
    await pool.close();
  }
}

test("[K4] what comes next is found by the primary key and planned once, however a segment grows", async () => {
  await using database = await testDatabase();
  const { custom, generic, isByKey } = await readWhileItGrows(database.url, readerSettings);
  expect(custom).toEqual([0, 0]);
  expect(generic.every((plans) => plans >= 15)).toBe(true);
  expect(isByKey).toEqual([true, true]);
});

test("the check sees reads that are planned each time, or that go through a whole segment", async () => {
  await using database = await testDatabase();
  const { custom, isByKey } = await readWhileItGrows(database.url, {});
  expect(custom.some((plans) => plans > 8) || isByKey.includes(false)).toBe(true);
});

/** A pool through which something happens after each look at which segments there are, before any of them is read. */
class RacingPool extends Pool {
  afterLook: () => Promise<unknown> = async () => undefined;

  override async query<Row extends Readonly<Record<string, unknown>>>(
    what: string,
    statement: string,
    parameters: readonly StatementParameter[] = [],
    deadlineMs?: number,
  ): Promise<Row[]> {
    const rows = await super.query<Row>(what, statement, parameters, deadlineMs);
    if (what.startsWith("reading the segments")) await this.afterLook();
    return rows;
  }
}

/** What one read from the beginning finds while the oldest segment is dropped after each of so many looks at the list. */
async function readWhileDropped(url: string, drops: number, filter?: ReturnType<typeof parseFilter>) {
  const options = { connections: 2, applicationName: "test" };
  const [pool, racing] = [new Pool(url, options), new RacingPool(url, options)];
  try {
    const declared = topic("numbers", {
      schema: z.number(),
      partitions: 1,
      retention: { time: "1d" },
      segment: { time: "1ms" },
    });
    const entry = await openTopic(pool, declared, { create: true });
    const log = new PostgresLog(pool);
    for (let number = 0; number <= drops; number += 1) {
      const entries = [{ partition: 0, count: 1, keys: null, records: `[${number}]`, attributes: null }];
      const rest = { repeat: false, after: null, acks: "all", ring: null, deadlineMs: 10_000 } as const;
      await log.append({ topic: entry, entries, producer: 1, sequence: number, ...rest });
      if (number < drops) expect((await log.trim(entry)).rolled).toBe(true);
    }
    let dropped = 0;
    racing.afterLook = async () => {
      dropped += 1;
      if (dropped <= drops) await log.trim(entry, { dropBelow: [dropped] });
    };
    const place = { topic: entry, partition: 0, from: 0 };
    const { batches, next } = await new PostgresLog(racing).read(filter === undefined ? place : { ...place, filter });
    return { values: batches.flatMap(({ values }) => values), next };
  } finally {
    await racing.close();
    await pool.close();
  }
}

test("[M1][I14] a read finds what lies behind a segment that is dropped before it is looked into", async () => {
  await using database = await testDatabase();
  expect(await readWhileDropped(database.url, 1)).toEqual({ values: [1], next: 2 });
});

test("[M1][I14] so it does with a filter, and where one segment after the other is dropped", async () => {
  await using database = await testDatabase();
  expect(await readWhileDropped(database.url, 3, parseFilter("key is null"))).toEqual({ values: [3], next: 4 });
});

test("[M1][I14] a read whose segments are dropped too fast fails, and does not say that there is nothing", async () => {
  await using database = await testDatabase();
  await expect(readWhileDropped(database.url, 6)).rejects.toMatchObject({
    code: "DATABASE_CONTENTION",
    retryable: true,
  });
});
