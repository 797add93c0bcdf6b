import { expect, setDefaultTimeout, test } from "bun:test";
import { eventually } from "@sluice/testkit";
import { appendLock, crowd } from "./crowd.ts";
import { appendOne, batchCount, overlaps } from "./log-checks.ts";
import { during, openRig, plant } from "./rig.ts";

setDefaultTimeout(60_000);

test("[I6] batches do not overlap, however many append and however often the segment rolls", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 2);
  let rolled = 0;
  const report = await during(crowd(rig.sql, entry.number, { partitions: 2, lanes: 10, each: 60 }), async () => {
    await rig.sql`select sluice.roll_segment(${entry.number})`;
    rolled += 1;
    expect(await overlaps(rig.sql, entry.number)).toEqual([]);
  });
  expect(rolled).toBeGreaterThan(3);
  expect(report.refused).toEqual([]);
  expect(await batchCount(rig.sql, entry.number)).toBe(600);
  expect(await overlaps(rig.sql, entry.number)).toEqual([]);
});

test("[I6] an append that waits while the segment rolls goes to the new segment", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 1);
  await appendOne(rig.sql, entry.number, 0, "before");
  let late: Promise<number> | undefined;
  await rig.sql.begin(async (tx) => {
    await tx`select sluice.roll_segment(${entry.number})`;
    late = appendOne(rig.sql, entry.number, 0, "late");
    await eventually("the append waits for the partition's lock", async () => {
      const waiting = await rig.sql`
        select from pg_locks where locktype = 'advisory' and classid = 1936487682 and not granted
          and database = (select oid from pg_database where datname = current_database())`;
      return waiting.length > 0;
    });
  });
  expect(await late).toBe(1);
  expect(await overlaps(rig.sql, entry.number)).toEqual([]);
  const rows = await rig.sql`select segment from sluice_log.topic_1 where base_offset = 1`;
  expect(rows.map((row) => row["segment"])).toEqual([1]);
});

test("[I6] the check sees a segment that is rolled without waiting for appends", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 1);
  await plant(rig.sql, "sluice.roll_segment", [/perform pg_advisory_xact_lock\(1936487682,[^;]*;/, ""]);
  await appendOne(rig.sql, entry.number, 0, "before");
  await rig.sql.begin(async (tx) => {
    await tx.unsafe(
      `select sluice_log.append_1(array[0], array[1], null, '["under way"]', null, null, 0, false, 'on', null)`,
    );
    await rig.sql`select sluice.roll_segment(${entry.number})`;
  });
  await appendOne(rig.sql, entry.number, 0, "after");
  expect(await overlaps(rig.sql, entry.number)).toEqual([
    "partition 0: a batch begins at 1, below 2, where the one before ends",
  ]);
});

test("[I6] the check sees an append without the lock and without the primary key", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 1);
  await plant(rig.sql, `sluice_log.append_${entry.number}`, [appendLock, ""]);
  await rig.sql.unsafe("alter table sluice_log.topic_1_segment_0 drop constraint topic_1_segment_0_pkey");
  await crowd(rig.sql, entry.number, { partitions: 1, lanes: 10, each: 40 });
  expect((await overlaps(rig.sql, entry.number)).length).toBeGreaterThan(0);
});
