import { expect, test } from "bun:test";
import { Groups, registerConsumer, trimTopics } from "@sluice/broker";
import { topic } from "@sluice/contract";
import { silentLogger } from "@sluice/kernel";
import { openTopic, PostgresLog } from "@sluice/log";
import { History } from "@sluice/testkit";
import { z } from "zod";
import { openRig, plant, type Rig, sendMany } from "./rig.ts";

/**
 * A log whose records are too old as soon as they are written, a group that needs them, and one that is far behind but did not ask.
 * Gives what a protected group has lost, after every step of its way.
 */
async function trimBehind(rig: Rig): Promise<string[]> {
  const pool = rig.pool();
  const log = new PostgresLog(pool);
  const groups = new Groups(pool);
  const declared = topic("letters", {
    schema: z.string(),
    partitions: 2,
    retention: { time: "1ms", bytes: 1 },
    segment: { time: "1ms" },
  });
  const entry = await openTopic(pool, declared, { create: true });
  const group = await registerConsumer(pool, { group: "needs", topic: entry, mode: "assigned", isProtected: true });
  await registerConsumer(pool, { group: "lags", topic: entry, mode: "assigned", isProtected: false });
  for (const name of ["needs", "lags"]) await groups.join(name, entry.number, "earliest");
  const producer = await rig.producer();
  const lost: string[] = [];
  for (let step = 0; step < 6; step += 1) {
    for (const partition of [0, 1])
      await sendMany(producer, declared, new History(), { sender: `s${step}-${partition}`, count: 4, partition });
    await trimTopics(pool, log, silentLogger);
    const rows = await rig.sql<{ partition: number; lost: number }[]>`
      select p.partition, (sluice.start_offset(p.topic, p.partition) - p.next_offset)::integer as lost from sluice.position p
      where p."group" = ${group} and sluice.start_offset(p.topic, p.partition) > p.next_offset`;
    lost.push(...rows.map((row) => `step ${step}: partition ${row.partition} lost ${row.lost} messages`));
    // One partition is handled a little behind, the other not at all before the fourth step.
    const { positions } = await groups.survey([group]);
    for (const { position, partition } of positions.filter((one) => one.partition === 0 || step > 3)) {
      const { epoch, nextOffset } = await groups.take(position, 1);
      await groups.commit([{ position, epoch, nextOffset: Math.max(nextOffset, step * 4 - partition), doneAbove: [] }]);
    }
  }
  return lost;
}

async function segmentsDropped(rig: Rig): Promise<number> {
  const [row] = await rig.sql<{ first: number }[]>`select min(segment) as first from sluice.segment`;
  return row?.first ?? 0;
}

test("[K9][I20] retention by time and size never passes a protected group, and drops what it has passed", async () => {
  await using rig = await openRig();
  expect(await trimBehind(rig)).toEqual([]);
  expect(await segmentsDropped(rig)).toBeGreaterThan(0);
});

test("[K9][I20] the check sees retention that does not ask who is protected", async () => {
  await using rig = await openRig();
  await plant(rig.sql, "sluice.retention_bounds", ["filter (where held.protected)", "filter (where false)"]);
  expect((await trimBehind(rig)).join()).toContain("lost");
});
