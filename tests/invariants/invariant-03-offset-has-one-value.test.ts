import { expect, setDefaultTimeout, test } from "bun:test";
import { PostgresLog } from "@sluice/log";
import { type LogEntry, offsetHasOneValue } from "@sluice/testkit";
import { appendLock, crowd } from "./crowd.ts";
import { during, killBackends, openRig, plant, readTopic } from "./rig.ts";

setDefaultTimeout(60_000);

test("[I3] readers, senders and the view agree on what an offset holds, whenever they look", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 2);
  const observations: LogEntry[] = [];
  const log = new PostgresLog(rig.pool({ name: "reader" }));
  const appending = crowd(rig.sql, entry.number, { partitions: 2, lanes: 8, each: 60 });
  let rounds = 0;
  const report = await during(appending, async () => {
    rounds += 1;
    for (const partition of [0, 1]) {
      // A reader whose backend was killed looks again in the next round.
      const seen = await log.read({ topic: entry, partition, from: 0 }).catch(() => undefined);
      for (const batch of seen?.batches ?? []) {
        for (const [index, value] of batch.values.entries())
          observations.push({ partition, offset: batch.baseOffset + index, value: String(value) });
      }
    }
    if (rounds % 3 === 0 && rounds < 30) await rig.sql`select sluice.roll_segment(${entry.number})`;
    if (rounds % 10 === 4) await killBackends(rig.sql, "reader");
  });
  expect(report.refused).toEqual([]);
  expect(observations.length).toBeGreaterThan(100);
  const view = await readTopic(rig.sql, "letters");
  expect(view).toHaveLength(480);
  expect(offsetHasOneValue([...report.acknowledged, ...observations, ...view])).toEqual([]);
});

test("[I3] the check sees an append that takes no lock and a segment without a primary key", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 1);
  await plant(rig.sql, `sluice_log.append_${entry.number}`, [appendLock, ""]);
  await rig.sql.unsafe("alter table sluice_log.topic_1_segment_0 drop constraint topic_1_segment_0_pkey");
  const report = await crowd(rig.sql, entry.number, { partitions: 1, lanes: 10, each: 40 });
  const violations = offsetHasOneValue([...report.acknowledged, ...(await readTopic(rig.sql, "letters"))]);
  expect(violations.length).toBeGreaterThan(0);
  expect(violations[0]).toMatch(/^partition 0, offset \d+ held \d+-\d+, then \d+-\d+$/);
});

test("[I3] without the lock the primary key is the backstop: it refuses and corrupts nothing", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 1);
  await plant(rig.sql, `sluice_log.append_${entry.number}`, [appendLock, ""]);
  const report = await crowd(rig.sql, entry.number, { partitions: 1, lanes: 10, each: 40 });
  expect(new Set(report.refused)).toEqual(new Set(["23505"]));
  expect(offsetHasOneValue([...report.acknowledged, ...(await readTopic(rig.sql, "letters"))])).toEqual([]);
});
