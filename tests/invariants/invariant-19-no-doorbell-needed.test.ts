import { expect, setDefaultTimeout, test } from "bun:test";
import type { Log } from "@sluice/log";
import { acknowledgedIsDelivered, eventually, History, startProxy } from "@sluice/testkit";
import { brokenLog } from "./broken-log.ts";
import { lagOf, recording } from "./recording-groups.ts";
import { openRig, sendMany } from "./rig.ts";

setDefaultTimeout(60_000);

/** Sends, straight and by way of the outbox, to a group of two workers, and gives what each partition delivered. */
async function workload(dropNotifications: boolean): Promise<string[]> {
  await using rig = await openRig();
  const proxy = rig.use(await startProxy(rig.url));
  proxy.dropNotifications = dropNotifications;
  const { topic, entry } = await rig.topic("letters", 2);
  const history = new History();
  for (const name of ["first", "second"])
    await rig.worker({ name, url: proxy.url, entry, ...recording(topic, history, { group: "readers" }) });
  const producer = await rig.producer();
  for (const partition of [0, 1]) {
    await sendMany(producer, topic, history, { sender: `straight-${partition}`, count: 20, partition });
    const value = `queued-${partition}`;
    await rig.sql.begin((tx) => producer.send(topic, value, { tx, partition }));
    history.sends.push({ sender: value, number: 0, value, outcome: "acknowledged" });
    await eventually("what was queued is delivered", () =>
      history.deliveries.some((delivery) => delivery.value === value),
    );
  }
  await eventually("the group is at the end", async () => (await lagOf(rig.sql, "readers")) === 0);
  expect(acknowledgedIsDelivered(history.sends, history.deliveries)).toEqual([]);
  expect(proxy.droppedNotifications > 0).toBe(dropNotifications);
  return history.deliveries
    .map(({ partition, offset, value }) => `${partition} ${String(offset).padStart(6)} ${value}`)
    .sort();
}

test("[I19] with the doorbell switched off the same messages arrive at the same offsets", async () => {
  const [loud, quiet] = [await workload(false), await workload(true)];
  expect(loud).toHaveLength(42);
  expect(quiet).toEqual(loud);
});

/** Never finds anything by itself. */
function deaf(log: Log): Log {
  return brokenLog(log, {
    ends: async (partitions) => partitions.map((partition) => ({ ...partition, start: 0, end: 0 })),
  });
}

test("[I19] the check sees a worker that relies on the doorbell", async () => {
  await using rig = await openRig();
  const proxy = rig.use(await startProxy(rig.url));
  proxy.dropNotifications = true;
  const { topic, entry } = await rig.topic("letters", 1);
  const history = new History();
  await rig.worker({
    name: "deaf",
    url: proxy.url,
    entry,
    log: deaf,
    ...recording(topic, history, { group: "readers" }),
  });
  const producer = await rig.producer();
  await sendMany(producer, topic, history, { sender: "s", count: 1 });
  await sendMany(producer, topic, history, { sender: "late", count: 1 });
  await eventually("a ring was dropped", () => proxy.droppedNotifications > 0);
  const arrived = eventually("everything arrives", () => history.deliveries.length === 2, 1_000).catch(() => "nothing");
  expect(await arrived).toBe("nothing");
  expect(acknowledgedIsDelivered(history.sends, history.deliveries)).toContain(
    "late-0 was acknowledged and never delivered",
  );
});
