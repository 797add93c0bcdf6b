import { expect, setDefaultTimeout, test } from "bun:test";
import { Groups } from "@sluice/broker";
import { History } from "@sluice/testkit";
import { auditPositions, type PositionChange, wentBack } from "./recording-groups.ts";
import { openRig, plant, type Rig } from "./rig.ts";
import { freezeAndTakeOver } from "./takeover.ts";

setDefaultTimeout(60_000);

test("[I11] a frozen owner that comes back takes no position back with it", async () => {
  const history = new History();
  let changes: () => Promise<PositionChange[]> = async () => [];
  await using _rig = await freezeAndTakeOver(history, async ({ sql }) => {
    changes = await auditPositions(sql);
  });
  const seen = await changes();
  expect(seen.filter(({ oldEpoch, epoch }) => epoch > oldEpoch).length).toBeGreaterThan(1);
  expect(seen.at(-1)?.nextOffset).toBe(25);
  expect(wentBack(seen)).toEqual([]);
});

/** Writes of one owner that arrive in another order than they were made, and one of an owner before. */
async function writeLate(rig: Rig): Promise<string[]> {
  const { entry } = await rig.topic("letters", 1);
  const changes = await auditPositions(rig.sql);
  const groups = new Groups(rig.pool());
  await groups.join("readers", entry.number, "earliest");
  const before = await groups.take(1, 1);
  const now = await groups.take(1, 2);
  for (const nextOffset of [5, 3, 8, 7])
    await groups.commit([{ position: 1, epoch: now.epoch, nextOffset, doneAbove: [] }]);
  await groups.commit([{ position: 1, epoch: before.epoch, nextOffset: 2, doneAbove: [] }]);
  const seen = await changes();
  expect(seen.length).toBeGreaterThanOrEqual(4);
  return wentBack(seen);
}

test("[I11] writes that arrive late are refused", async () => {
  await using rig = await openRig();
  expect(await writeLate(rig)).toEqual([]);
});

test("[I11] the check sees a write that does not compare with what is there", async () => {
  await using rig = await openRig();
  await plant(rig.sql, "sluice.commit_positions", [/ and p\.next_offset <= p_next_offsets\[i\]/, ""]);
  expect(await writeLate(rig)).toEqual([
    "partition 0: the position went from 5 back to 3 in epoch 2",
    "partition 0: the position went from 8 back to 7 in epoch 2",
  ]);
});
