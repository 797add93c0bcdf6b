import { expect, setDefaultTimeout, test } from "bun:test";
import type { Log } from "@sluice/log";
import { epochIsContiguous, eventually, History } from "@sluice/testkit";
import { brokenLog } from "./broken-log.ts";
import { lagOf, recording } from "./recording-groups.ts";
import { killBackends, openRig, sendMany } from "./rig.ts";

setDefaultTimeout(60_000);

test("[I9] an epoch's deliveries are contiguous through rolled segments, killed sessions and a second worker", async () => {
  await using rig = await openRig();
  const { topic, entry } = await rig.topic("letters", 2);
  const history = new History();
  const first = recording(topic, history, { group: "readers" });
  await rig.worker({ name: "first", entry, ...first });
  const producer = await rig.producer();
  const send = (round: number) =>
    Promise.all(
      [0, 1].map((partition) =>
        sendMany(producer, topic, history, { sender: `${round}-${partition}`, count: 100, partition, inFlight: 5 }),
      ),
    );
  await send(0);
  await rig.sql`select sluice.roll_segment(${entry.number})`;
  await Promise.all([
    send(1),
    rig.worker({ name: "second", entry, ...recording(topic, history, { group: "readers" }) }),
  ]);
  await Promise.all([send(2), killBackends(rig.sql, "sluice first")]);
  await Promise.all([send(3), killBackends(rig.sql, "second pool")]);
  await eventually("the group is at the end", async () => (await lagOf(rig.sql, "readers")) === 0);
  expect(new Set(history.deliveries.map(({ value }) => value)).size).toBe(800);
  expect(new Set(history.deliveries.map(({ partition, epoch }) => `${partition} ${epoch}`)).size).toBeGreaterThan(3);
  expect(epochIsContiguous(history.deliveries)).toEqual([]);
});

/** Loses the second batch of every read. */
function skipping(log: Log): Log {
  return brokenLog(log, {
    async read(request) {
      const result = await log.read(request);
      return { ...result, batches: result.batches.filter((_, index) => index !== 1) };
    },
  });
}

test("[I9] the check sees a read that leaves a batch out", async () => {
  await using rig = await openRig();
  const { topic, entry } = await rig.topic("letters", 1);
  const history = new History();
  await sendMany(await rig.producer(), topic, history, { sender: "s", count: 5 });
  await rig.worker({ name: "reader", entry, log: skipping, ...recording(topic, history, { group: "readers" }) });
  await eventually("the last one was delivered", () => history.deliveries.some(({ offset }) => offset === 4));
  expect(epochIsContiguous(history.deliveries)).toEqual(["group readers, partition 0, epoch 1: offset 2 came after 0"]);
});
