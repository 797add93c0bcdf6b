import { expect, setDefaultTimeout, test } from "bun:test";
import { eventually, History } from "@sluice/testkit";
import type postgres from "postgres";
import { batchCount, gaps, overlaps } from "./log-checks.ts";
import { during, openRig, plant, sendMany } from "./rig.ts";

setDefaultTimeout(60_000);

/** Appends a record to each partition, with a hint for each; resolves with their offsets. */
async function appendNear(sql: postgres.Sql, topic: number, hints: readonly number[]): Promise<number[]> {
  const records = hints.map(() => '["x"]').join("\u001e".repeat(32));
  const [row] = await sql.unsafe<{ offsets: string }[]>(
    `select array_to_string(sluice_log.append_${topic}(array[${hints.map((_, partition) => partition)}],
      array[${hints.map(() => 1)}], null, $1, null, null, 0, false, 'on', null, array[${hints}]::bigint[]), ',') as offsets`,
    [records],
  );
  return (row?.offsets ?? "").split(",").map(Number);
}

/** Makes the newest segment one that was begun an hour ago: only there hints are used. */
async function age(sql: postgres.Sql, topic: number): Promise<void> {
  await sql`update sluice.segment set created_at = created_at - interval '1 hour' where topic = ${topic}`;
  await sql`select sluice.create_append_function(${topic})`;
}

test("[I5][I6] whatever producers believe about the end, offsets are dense, also while segments roll", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 3);
  let appended = 0;
  let rolls = 0;
  const lane = async (lane: number) => {
    let last = [0, 0, 0];
    for (let index = 0; index < 60; index += 1) {
      const wrong = [0, 1_000_000, 3][index % 3] as number;
      const hints = (index + lane) % 4 === 0 ? last.map(() => wrong) : last;
      const offsets = await appendNear(rig.sql, entry.number, (index + lane) % 2 === 0 ? hints : hints.slice(0, 1));
      last = last.map((offset, partition) => offsets[partition] ?? offset);
      appended += offsets.length;
    }
  };
  await during(Promise.all(Array.from({ length: 8 }, (_, number) => lane(number))), async () => {
    if (rolls === 5) return await rig.sql`select pg_sleep(0.01)`;
    rolls += 1;
    await rig.sql`select sluice.roll_segment(${entry.number})`;
    return await age(rig.sql, entry.number);
  });
  expect(rolls).toBe(5);
  expect(await batchCount(rig.sql, entry.number)).toBe(appended);
  expect(await gaps(rig.sql, entry.number)).toEqual([]);
  expect(await overlaps(rig.sql, entry.number)).toEqual([]);
});

test("[I5] a hint that is too high, too low or of another segment finds the end all the same", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 2);
  expect(await appendNear(rig.sql, entry.number, [7])).toEqual([0]);
  expect(await appendNear(rig.sql, entry.number, [0])).toEqual([1]);
  expect(await appendNear(rig.sql, entry.number, [1_000_000, 5])).toEqual([2, 0]);
  expect(await appendNear(rig.sql, entry.number, [0, 0])).toEqual([3, 1]);
  await rig.sql`select sluice.roll_segment(${entry.number})`;
  await age(rig.sql, entry.number);
  expect(await appendNear(rig.sql, entry.number, [3, 1])).toEqual([4, 2]);
  expect(await appendNear(rig.sql, entry.number, [4])).toEqual([5]);
  expect(await gaps(rig.sql, entry.number)).toEqual([]);
});

test("[I6] an append with a hint that waits while the segment rolls goes to the new segment", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 2);
  await appendNear(rig.sql, entry.number, [0, 0]);
  const late: Promise<number[]>[] = [];
  await rig.sql.begin(async (tx) => {
    await tx`select sluice.roll_segment(${entry.number})`;
    late.push(appendNear(rig.sql, entry.number, [0]), appendNear(rig.sql, entry.number, [0, 0]));
    await eventually("both appends wait for the partition's lock", async () => {
      const waiting = await rig.sql`
        select from pg_locks where locktype = 'advisory' and classid = 1936487682 and not granted
          and database = (select oid from pg_database where datname = current_database())`;
      return waiting.length === 2;
    });
  });
  await Promise.all(late);
  expect(await overlaps(rig.sql, entry.number)).toEqual([]);
  expect(await gaps(rig.sql, entry.number)).toEqual([]);
  const rows = await rig.sql`select distinct segment from sluice_log.topic_1 where base_offset between 1 and 2`;
  expect(rows.map((row) => row["segment"])).toEqual([1]);
});

test("[I5][I7] producers that take turns have old hints and lose nothing", async () => {
  await using rig = await openRig();
  const { topic, entry } = await rig.topic("letters", 2);
  const producers = [await rig.producer(), await rig.producer()];
  for (let turn = 0; turn < 6; turn += 1) {
    const producer = producers[turn % 2] as (typeof producers)[number];
    await sendMany(producer, topic, new History(), { sender: String(turn), count: 20, inFlight: 10 });
  }
  expect(await batchCount(rig.sql, entry.number)).toBeGreaterThan(5);
  expect(await gaps(rig.sql, entry.number)).toEqual([]);
});

test("[I5] the check sees an append to several partitions that believes its hints", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 2);
  await plant(rig.sql, `sluice_log.append_${entry.number}`, [
    "array_agg(last.end_offset order by e.number), max(last.end_offset), bool_or(last.follows) into v_firsts",
    "array_agg(coalesce(last.end_offset, e.hint) order by e.number), 0, true into v_firsts",
  ]);
  await appendNear(rig.sql, entry.number, [0, 0]);
  await appendNear(rig.sql, entry.number, [0, 9]);
  expect(await gaps(rig.sql, entry.number)).toEqual(["partition 1: a batch begins at 9, the one before ends at 1"]);
});
