import { expect, setDefaultTimeout, test } from "bun:test";
import type { TakenPosition } from "@sluice/broker";
import { epochBeginsAtPosition, eventually, History } from "@sluice/testkit";
import { auditPositions, lagOf, RecordingGroups, recording } from "./recording-groups.ts";
import { killBackends, openRig, sendMany } from "./rig.ts";

setDefaultTimeout(60_000);

test("[I10] after every takeover the first delivery is the one at the committed position", async () => {
  await using rig = await openRig();
  const { topic, entry } = await rig.topic("letters", 2);
  const changes = await auditPositions(rig.sql);
  const history = new History();
  await rig.worker({ name: "first", entry, ...recording(topic, history, { group: "readers" }) });
  await rig.worker({ name: "second", entry, ...recording(topic, history, { group: "readers" }) });
  const producer = await rig.producer();
  for (let round = 0; round < 6; round += 1) {
    const sending = Promise.all(
      [0, 1].map((partition) =>
        sendMany(producer, topic, history, { sender: `${round}-${partition}`, count: 60, partition, inFlight: 4 }),
      ),
    );
    await killBackends(rig.sql, round % 2 === 0 ? "sluice first" : "sluice second");
    await sending;
    const delivered = () => new Set(history.deliveries.map(({ value }) => value)).size;
    await eventually("the round is delivered", () => delivered() === (round + 1) * 120);
  }
  await eventually("the group is at the end", async () => (await lagOf(rig.sql, "readers")) === 0);
  const taken = (await changes()).flatMap(({ partition, epoch, oldEpoch, oldNextOffset }) =>
    epoch > oldEpoch ? [{ partition, epoch, committedOffset: oldNextOffset }] : [],
  );
  expect(taken.length).toBeGreaterThan(6);
  expect(epochBeginsAtPosition(history.deliveries, taken)).toEqual([]);
});

/** Begins one record too late, as if what was read ahead counted as done. */
class HastyGroups extends RecordingGroups {
  override async take(position: number, member: number, reserve?: number): Promise<TakenPosition> {
    const taken = await super.take(position, member, reserve);
    return { ...taken, nextOffset: taken.nextOffset + 1 };
  }
}

test("[I10] the check sees an owner that begins behind the committed position", async () => {
  await using rig = await openRig();
  const { topic, entry } = await rig.topic("letters", 1);
  const changes = await auditPositions(rig.sql);
  const history = new History();
  await sendMany(await rig.producer(), topic, history, { sender: "s", count: 5 });
  const hasty = recording(topic, history, { group: "readers", makeGroups: (pool) => new HastyGroups(pool, history) });
  await rig.worker({ name: "hasty", entry, ...hasty });
  await eventually("the last one was delivered", () => history.deliveries.some(({ offset }) => offset === 4));
  const taken = (await changes()).flatMap(({ partition, epoch, oldEpoch, oldNextOffset }) =>
    epoch > oldEpoch ? [{ partition, epoch, committedOffset: oldNextOffset }] : [],
  );
  expect(epochBeginsAtPosition(history.deliveries, taken)).toEqual([
    "group readers, partition 0, epoch 1: began at 1, but 0 was committed",
  ]);
});
