import { expect, setDefaultTimeout, test } from "bun:test";
import type { Topic } from "@sluice/contract";
import { isSluiceError } from "@sluice/kernel";
import { type Log, PostgresLog, type TopicEntry } from "@sluice/log";
import { eventually, History, senderOrderHolds, startProxy } from "@sluice/testkit";
import type { Producer } from "@sluice/worker";
import { brokenLog } from "./broken-log.ts";
import { gaps } from "./log-checks.ts";
import { during, openRig, plant, type Rig, readTopic, sendMany } from "./rig.ts";

setDefaultTimeout(60_000);

/** Counts what came before its predecessor. */
function counting(log: Log, count: { early: number; second: number }): Log {
  return brokenLog(log, {
    async append(request) {
      if (request.after !== null) count.second += 1;
      try {
        return await log.append(request);
      } catch (error) {
        if (isSluiceError(error, "OUT_OF_SEQUENCE")) count.early += 1;
        throw error;
      }
    },
  });
}

async function sendAtOnce(producer: Producer, topic: Topic<string>, history: History, count: number) {
  const values = Array.from({ length: count }, (_, number) => `s-${number}`);
  const results = await producer.sendBatch(topic, values, { partition: 0 });
  for (const [number, { partition, offset }] of results.entries()) {
    const value = values[number] as string;
    history.sends.push({ sender: "s", number, value, outcome: "acknowledged", partition, offset: offset ?? -1 });
  }
}

/**
 * Sends two full flushes of which the first is held up on its way, so that the second comes first. (Over two connections of one pool: a rig's
 * producer has no connections for appends alone, where none can overtake another but one may fail while the next goes on.)
 */
async function sendTwoWithTheFirstHeldUp(rig: Rig, count: { early: number; second: number }): Promise<History> {
  const proxy = rig.use(await startProxy(rig.url));
  const { topic } = await rig.topic("letters", 1);
  const producer = await rig.producer({ url: proxy.url, log: (log) => counting(log, count) });
  // Connections for both, so that neither waits for one.
  await Promise.all([0, 1, 2, 3].map(() => rig.sql`select 1`));
  await sendAtOnce(producer, topic, new History(), 4_001);
  count.early = 0;
  const history = new History();
  const held = proxy.hold((statement) => statement.includes("sluice_log.append_1("));
  const sending = sendAtOnce(producer, topic, history, 4_000);
  const { release } = await held;
  await eventually("the second flush is over or has been refused", async () => {
    const [row] = await rig.sql<
      { records: number }[]
    >`select coalesce(sum(count), 0)::integer as records from sluice_log.topic_1`;
    return count.early > 0 || (row?.records ?? 0) > 4_001;
  });
  release();
  await sending;
  return history;
}

test("[I7] a full flush that overtakes the one before is refused by the log and waits for it", async () => {
  await using rig = await openRig();
  const count = { early: 0, second: 0 };
  const history = await sendTwoWithTheFirstHeldUp(rig, count);
  expect(count.early).toBe(1);
  const log = (await readTopic(rig.sql, "letters")).filter(({ offset }) => offset >= 4_001);
  expect(log).toHaveLength(4_000);
  expect(senderOrderHolds(history.sends, log)).toEqual([]);
});

test("[I7] the check sees a log that does not ask for the one before", async () => {
  await using rig = await openRig();
  const create = /raise exception 'sluice: sequence [^;]*;/;
  await plant(rig.sql, "sluice.create_append_function", [create, "null;"]);
  const history = await sendTwoWithTheFirstHeldUp(rig, { early: 0, second: 0 });
  const log = (await readTopic(rig.sql, "letters")).filter(({ offset }) => offset >= 4_001);
  expect(senderOrderHolds(history.sends, log)).not.toEqual([]);
});

/** Appends a record to each of these partitions; resolves with their offsets, or with the code of the error. */
async function append(log: Log, topic: TopicEntry, sequence: number, after: number | null, partitions = [0]) {
  const entries = partitions.map((partition) => ({
    ...{ partition, count: 1, keys: null, records: `["${sequence}"]`, attributes: null },
  }));
  const rest = { producer: 1_000, repeat: false, acks: "all", ring: null, deadlineMs: 10_000 } as const;
  try {
    return await log.append({ topic, entries, sequence, after, ...rest });
  } catch (error) {
    return isSluiceError(error) ? error.code : error;
  }
}

test("[I7] an append follows what it names, whatever came between, and is refused while that is not in the log", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 3);
  const log = new PostgresLog(rig.pool({ connections: 1 }));
  for (const [round, partitions] of [[0], [0, 1]].entries()) {
    const first = round * 100;
    const base = round * 4;
    expect(await append(log, entry, first + 1, first, partitions)).toBe("OUT_OF_SEQUENCE");
    expect(await append(log, entry, first, null, partitions)).toEqual(partitions.map(() => expect.any(Number)));
    // The last of its partition, then one that is not any more, then one of another segment.
    expect(await append(log, entry, first + 10, first, partitions)).toContain(base + 1);
    expect(await append(log, entry, first + 20, first, partitions)).toContain(base + 2);
    expect(await append(log, entry, first + 30, first + 99, partitions)).toBe("OUT_OF_SEQUENCE");
    expect(await append(log, entry, first + 40, first + 10, [2])).toEqual([round]);
    await rig.sql`select sluice.roll_segment(${entry.number})`;
    expect(await append(log, entry, first + 50, first + 20, partitions)).toContain(base + 3);
    expect(await append(log, entry, first + 60, first + 99, partitions)).toBe("OUT_OF_SEQUENCE");
  }
  expect(await gaps(rig.sql, entry.number)).toEqual([]);
});

for (const partitions of [[0], [0, 1]]) {
  test(`[I7] the check sees an append to ${partitions.length} partitions that takes any last batch for the one before`, async () => {
    await using rig = await openRig();
    await plant(rig.sql, "sluice.create_append_function", ["b.producer = p_producer and b.sequence = p_after", "true"]);
    const { entry } = await rig.topic("letters", 3);
    const log = new PostgresLog(rig.pool({ connections: 1 }));
    await append(log, entry, 0, null, partitions);
    expect(await append(log, entry, 10, 5, partitions)).not.toBe("OUT_OF_SEQUENCE");
  });
}

test("[I7][K4] callers of many single sends have two flushes under way, in order", async () => {
  await using rig = await openRig();
  const { topic } = await rig.topic("letters", 1);
  const history = new History();
  const count = { early: 0, second: 0 };
  const producer = await rig.producer({ log: (log) => counting(log, count) });
  await sendMany(producer, topic, history, { sender: "s", count: 5_000, partition: 0, inFlight: 256 });
  expect(count.second).toBeGreaterThan(10);
  expect(senderOrderHolds(history.sends, await readTopic(rig.sql, "letters"))).toEqual([]);
});

test("[I7][K4] order holds while two flushes are under way and connections are cut, and nothing is doubled", async () => {
  await using rig = await openRig();
  const proxy = rig.use(await startProxy(rig.url));
  const { topic, entry } = await rig.topic("letters", 4);
  const history = new History();
  const count = { early: 0, second: 0 };
  const producer = await rig.producer({ url: proxy.url, log: (log) => counting(log, count) });
  const sending = sendMany(producer, topic, history, { sender: "s", count: 60_000, partition: 1, inFlight: 9_000 });
  let faults = 0;
  await during(sending, async () => {
    const before = history.sends.length;
    faults += 1;
    if (faults % 2 === 0) proxy.cutAll();
    else await Promise.race([sending, proxy.swallowAnswer((statement) => statement.includes("sluice_log.append_"))]);
    if (faults === 3) await rig.sql`select sluice.roll_segment(${entry.number})`;
    await Promise.race([sending, eventually("sends go on", () => history.sends.length > before + 4_000)]);
  });
  expect(faults).toBeGreaterThan(3);
  expect(count.second).toBeGreaterThan(3);
  const log = await readTopic(rig.sql, "letters");
  expect(log).toHaveLength(60_000);
  expect(senderOrderHolds(history.sends, log)).toEqual([]);
});
