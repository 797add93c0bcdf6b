import assert from "node:assert/strict";
import { test } from "node:test";
import { app, consumer, isSluiceError, type Sluice, topic } from "sluice";
import { z } from "zod";
import { type World, world } from "./harness.ts";

/** A topic that no connection has opened yet. */
function fresh(name: string) {
  return topic(name, { schema: z.number(), partitions: 1 });
}

async function logOf(here: World, name: string): Promise<unknown[]> {
  const rows = await here.sql.unsafe(`select value from topics."${name}" order by "offset"`);
  return rows.map((row) => row["value"]);
}

/** Sends from 1 to 6 to a topic, one call after the other in every way there is, and awaits nothing. */
function sendSix(sluice: Sluice, numbers: ReturnType<typeof fresh>, isGroupAsked: boolean): Promise<unknown>[] {
  const first = sluice.send(numbers, 1, isGroupAsked ? { requireGroup: true } : {});
  const second = sluice.sendBatch(numbers, [2, 3]);
  sluice.post(numbers, 4);
  return [first, second, sluice.sendBatch(numbers, [5]), sluice.send(numbers, 6)];
}

test("[K2][K5] what is sent to a topic that is not open yet keeps the order in which it was sent, as to one that is", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  const numbers = fresh("numbers");
  await Promise.all(sendSix(sluice, numbers, false));
  await Promise.all(sendSix(sluice, numbers, false));
  await sluice.flush();
  assert.deepEqual(await logOf(here, "numbers"), [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]);
});

test("[K2][K5] what is sent while a send asks for a group waits behind it", async () => {
  await using here = await world();
  const numbers = fresh("numbers");
  const reading = consumer(numbers, { group: "reading", handler: () => undefined });
  await using running = await here.start(app({ consumers: [reading] }));
  await using sluice = await here.connect();
  await Promise.all(sendSix(sluice, numbers, true));
  await running.sluice.flush();
  await sluice.flush();
  assert.deepEqual(await logOf(here, "numbers"), [1, 2, 3, 4, 5, 6]);
});

test("[K2][K5] what waits for room goes before what is sent when there is some, in the order in which it was sent", async () => {
  await using here = await world();
  await using sluice = await here.connect({ maxBufferedRecords: 2 });
  const numbers = fresh("numbers");
  await sluice.send(numbers, 0);
  const first = sluice.send(numbers, 1);
  const others = [2, 3, 4, 5, 6].map((number) => sluice.send(numbers, number));
  await first;
  await Promise.all([...others, sluice.send(numbers, 7)]);
  assert.deepEqual(await logOf(here, "numbers"), [0, 1, 2, 3, 4, 5, 6, 7]);
});

test("[K2] flush and close settle what was sent to a topic that was not open yet", async () => {
  await using here = await world();
  await using flushed = await here.connect();
  const settled: number[] = [];
  for (const [index, sent] of sendSix(flushed, fresh("flushed"), false).entries()) sent.then(() => settled.push(index));
  await flushed.flush();
  assert.deepEqual(settled, [0, 1, 2, 3]);
  const closed = await here.connect();
  const sent = sendSix(closed, fresh("closed"), false);
  await closed.close();
  await Promise.all(sent);
  for (const name of ["flushed", "closed"]) assert.deepEqual(await logOf(here, name), [1, 2, 3, 4, 5, 6]);
});

test("[K2][N2] options of a send that mean nothing, or that no database could show, are refused, and nothing is written", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  const numbers = fresh("numbers");
  await sluice.send(numbers, 1, { timestamp: -62_135_596_800_000, timeToLive: "5000w" });
  await sluice.send(numbers, 2, { timestamp: 253_402_300_799_999 });
  const options: readonly (readonly [string, object])[] = [
    ["acks", { acks: "ALL" }],
    ["acks", { acks: 2 }],
    ["acks", { acks: "0" }],
    ["timestamp", { timestamp: -62_135_596_800_001 }],
    ["timestamp", { timestamp: 253_402_300_800_000 }],
    ["timestamp", { timestamp: -9e15 }],
    ["timestamp", { timestamp: 1.5 }],
    ["timeToLive", { timeToLive: Number.MAX_VALUE }],
    ["timeToLive", { timeToLive: "6000w" }],
  ];
  for (const [path, wrong] of options) {
    const refused = (error: unknown) => isSluiceError(error) && error.problems.some((problem) => problem.path === path);
    await assert.rejects(sluice.send(numbers, 3, wrong), refused, JSON.stringify(wrong));
    await assert.rejects(sluice.sendBatch(numbers, [3], wrong), refused);
    await assert.rejects(
      here.sql.begin((tx) => sluice.send(numbers, 3, { ...wrong, tx })),
      refused,
    );
    assert.throws(() => sluice.post(numbers, 3, wrong), refused);
  }
  await sluice.flush();
  assert.deepEqual(await logOf(here, "numbers"), [1, 2]);
});

test("[K4] a place that cannot be read is refused, and not an empty topic", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  const numbers = fresh("numbers");
  await sluice.send(numbers, 1);
  const wrong = [{ partition: 1 }, { partition: -1 }, { partition: 0.5 }];
  const places = [{ from: Number.NaN }, { from: -4 }, { to: 1.5 }, { to: -1 }].map((place) => ({
    partition: 0,
    ...place,
  }));
  for (const options of [...wrong, ...places]) {
    const read = async () => await Array.fromAsync(sluice.read(numbers, options));
    await assert.rejects(read, (error: unknown) => isSluiceError(error, "INVALID_OPTIONS"), JSON.stringify(options));
  }
  assert.equal((await Array.fromAsync(sluice.read(numbers, { partition: 0 }))).length, 1);
});
