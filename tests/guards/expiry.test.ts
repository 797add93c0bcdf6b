import { expect, setDefaultTimeout, test } from "bun:test";
import { DatabaseClock } from "@sluice/broker";
import { consumer } from "@sluice/contract";
import { openTopic } from "@sluice/log";
import { eventually, startProxy } from "@sluice/testkit";
import { lagOf } from "../invariants/recording-groups.ts";
import { openRig, type Rig } from "../invariants/rig.ts";
import { guardedTopic } from "./guard-checks.ts";

setDefaultTimeout(30_000);

const dayMs = 86_400_000;

/** Runs `work` while this machine's time of day is wrong by so much. */
async function withClockOff<Result>(offMs: number, work: () => Promise<Result>): Promise<Result> {
  const right = Date.now;
  Date.now = () => right() + offMs;
  try {
    return await work();
  } finally {
    Date.now = right;
  }
}

/** Sends one message that has expired and one that has an hour, and gives what a handler saw. */
async function handed(rig: Rig, name: string): Promise<string[]> {
  const { topic } = await guardedTopic(rig, name, 1, { timeToLive: "1h" });
  const entry = await openTopic(rig.pool({ connections: 1 }), topic, { create: false });
  const producer = await rig.producer();
  await producer.send(topic, "old", { timeToLive: "1ms" });
  await producer.send(topic, "young");
  await eventually("the first has expired", async () => {
    const [row] = await rig.sql<{ past: boolean }[]>`
      select min(appended_at) < clock_timestamp() - interval '2 ms' as past from topics.${rig.sql(name)}`;
    return row?.past;
  });
  const seen: string[] = [];
  const reading = consumer(topic, {
    group: name,
    commitInterval: "10ms",
    handler: (c) => {
      seen.push(c.value);
    },
  });
  await rig.worker({ name, consumer: reading, entry });
  await eventually("the group is at the end", async () => (await lagOf(rig.sql, name)) === 0);
  return seen;
}

test("[Q2] a machine whose clock is a day ahead or behind hands over what it should, and nothing else", async () => {
  await using rig = await openRig();
  expect(await handed(rig, "right")).toEqual(["young"]);
  expect(await withClockOff(dayMs, () => handed(rig, "ahead"))).toEqual(["young"]);
  expect(await withClockOff(-dayMs, () => handed(rig, "behind"))).toEqual(["young"]);
});

test("[Q2] the check sees an expiry by the local clock", async () => {
  await using rig = await openRig();
  const { reached } = DatabaseClock.prototype;
  DatabaseClock.prototype.reached = () => Date.now();
  try {
    expect(await withClockOff(dayMs, () => handed(rig, "ahead"))).toEqual([]);
    expect(await withClockOff(-dayMs, () => handed(rig, "behind"))).toEqual(["old", "young"]);
  } finally {
    DatabaseClock.prototype.reached = reached;
  }
});

test("[Q2] what is known of the database's clock is never ahead of it, however slow the answer was", async () => {
  await using rig = await openRig();
  const proxy = rig.use(await startProxy(rig.url));
  const clock = new DatabaseClock(rig.pool({ url: proxy.url, connections: 1 }));
  expect(clock.reached()).toBeUndefined();
  for (const delayMs of [0, 40, 5]) {
    proxy.delayMs = delayMs;
    await Promise.all([clock.learn(), clock.learn()]);
    const reached = clock.reached() ?? Number.POSITIVE_INFINITY;
    const [row] = await rig.sql<{ now: string }[]>`select extract(epoch from clock_timestamp()) * 1000 as now`;
    expect(reached).toBeLessThanOrEqual(Number(row?.now));
    expect(reached).toBeGreaterThan(Number(row?.now) - 5_000);
  }
});
