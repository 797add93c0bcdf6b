import { expect, test } from "bun:test";
import { topic } from "@sluice/contract";
import { Pool } from "@sluice/store";
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
