import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { consumer, parseFilter } from "@sluice/contract";
import { type Log, PostgresLog, type ReadResult, type TopicEntry } from "@sluice/log";
import { eventually } from "@sluice/testkit";
import { brokenLog } from "../invariants/broken-log.ts";
import { openRig, type Rig } from "../invariants/rig.ts";

/** Appends `batches` of `count` records with 200 random characters each, which no compression keeps in the row; one batch in a hundred has a record with the tag. */
async function fill(rig: Rig, entry: TopicEntry, batches: number, count: number, producer = 1): Promise<void> {
  const log = new PostgresLog(rig.pool());
  for (let number = 0; number < batches; number += 1) {
    const attributes = Array.from({ length: count }, (_, index) =>
      number % 100 === 50 && index === 7 ? { headers: { tag: "rare" } } : null,
    );
    await log.append({
      topic: entry,
      entries: [
        {
          partition: 0,
          count,
          keys: null,
          records: JSON.stringify(
            Array.from({ length: count }, (_, index) => `${number}/${index} ${randomBytes(100).toString("hex")}`),
          ),
          attributes: JSON.stringify(attributes),
        },
      ],
      producer,
      sequence: number * count,
      repeat: false,
      after: null,
      acks: 1,
      ring: null,
      deadlineMs: 10_000,
    });
  }
}

const rare = parseFilter("rare");

test("[R6] batches where nothing matches are neither sent nor fetched from where their values are stored", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("lines", 1);
  await fill(rig, entry, 200, 50);
  // One connection, whose statistics can be told to appear before the next statement.
  const pool = rig.pool({ connections: 1 });
  const log = new PostgresLog(pool);
  const blocks = async () => {
    await pool.query("flushing", "select pg_stat_force_next_flush()");
    const [row] = await pool.query<{ blocks: number }>(
      "counting",
      `select (coalesce(toast_blks_hit, 0) + coalesce(toast_blks_read, 0))::int as blocks
       from pg_statio_all_tables where relid = $1::regclass`,
      [`sluice_log.topic_${entry.number}_segment_0`],
    );
    return row?.blocks ?? 0;
  };
  const read = async (filter?: typeof rare) => {
    const before = await blocks();
    const request = { topic: entry, partition: 0, from: 0, maxCharacters: 2 ** 40 };
    const result = await log.read(filter === undefined ? request : { ...request, filter });
    return { result, blocks: (await blocks()) - before };
  };
  const all = await read();
  const some = await read(rare);
  expect(all.result.batches.length).toBe(200);
  expect(some.result.batches.map(({ baseOffset, matches }) => [baseOffset, matches])).toEqual([
    [50 * 50, [7]],
    [150 * 50, [7]],
  ]);
  expect(some.result.batches.map(({ values }) => String(values[7]).split(" ")[0])).toEqual(["50/7", "150/7"]);
  expect(some.result.next).toBe(200 * 50);
  const characters = (result: ReadResult) => result.batches.reduce((sum, batch) => sum + batch.characters, 0);
  // A record each instead of 10,000.
  expect(characters(some.result)).toBeLessThan(500);
  expect(characters(all.result)).toBeGreaterThan(2_000_000);
  // Two batches' values were fetched instead of 200.
  expect(all.blocks).toBeGreaterThan(0);
  expect(some.blocks).toBeLessThan(all.blocks / 20);
});

test("[R6] one read looks at a bounded number of records, and the next goes on behind them", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("lines", 1);
  await fill(rig, entry, 30, 2_000);
  const log = new PostgresLog(rig.pool());
  const steps: number[] = [];
  for (let from = 0; ; ) {
    const result = await log.read({ topic: entry, partition: 0, from, filter: parseFilter("tag = 'none'") });
    expect(result.batches).toEqual([]);
    expect(result.begin ?? result.next).toBe(from);
    if (result.next > from) steps.push(result.next - from);
    from = result.next;
    if (!result.more) break;
  }
  expect(steps).toEqual([20_000, 20_000, 20_000]);
});

/** Consumes with a filter until nothing is left to do, and gives what the handler saw and how many reads it took. */
async function consumeRare(rig: Rig, entry: TopicEntry, wrap: (log: Log) => Log): Promise<readonly string[]> {
  const seen: string[] = [];
  const declared = (await rig.topic("lines", 1)).topic;
  const handler = (c: { readonly value: string }) => void seen.push(c.value.split(" ")[0] ?? "");
  await rig.worker({
    name: "one",
    consumer: consumer(declared, { group: "rare", filter: "rare", handler }),
    entry,
    log: wrap,
  });
  await eventually("the group has no lag", async () => {
    const [row] = await rig.sql`select lag::int from sluice.lag where "group" = 'rare'`;
    return row?.["lag"] === 0;
  });
  return seen;
}

test("[R6] the position passes 60,000 messages of which two match, and the lag goes to zero", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("lines", 1);
  await fill(rig, entry, 200, 300);
  let reads = 0;
  const counting = (log: Log) =>
    brokenLog(log, {
      read: (request) => {
        reads += 1;
        return log.read(request);
      },
    });
  expect(await consumeRare(rig, entry, counting)).toEqual(["50/7", "150/7"]);
  expect(reads).toBeLessThan(20);
  const [row] = await rig.sql`select committed_offset::int from sluice.lag where "group" = 'rare'`;
  expect(row?.["committed_offset"]).toBe(60_000);
});

test("[R6] what comes after the last match is passed, too: a log that stops there leaves a lag", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("lines", 1);
  await fill(rig, entry, 120, 10);
  const stopping = (log: Log) =>
    brokenLog(log, {
      read: async (request) => {
        const result = await log.read(request);
        const last = result.batches.at(-1);
        const next = last === undefined ? request.from : last.baseOffset + (last.matches?.at(-1) ?? 0) + 1;
        return { ...result, next, more: false };
      },
    });
  await rig.worker({
    name: "one",
    consumer: consumer((await rig.topic("lines", 1)).topic, {
      group: "rare",
      filter: "rare",
      handler: () => undefined,
    }),
    entry,
    log: stopping,
  });
  const lag = await eventually("the match is done", async () => {
    const [row] = await rig.sql`select lag::int, committed_offset::int from sluice.lag where "group" = 'rare'`;
    return row?.["committed_offset"] === 50 * 10 + 8 ? [row["lag"]] : false;
  });
  expect(lag).toEqual([120 * 10 - 508]);
});

test("[R6] a filter goes on across segments, and what retention has dropped is told apart from what was kept back", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("lines", 1);
  const pool = rig.pool();
  const read = async (from: number, log: Log = new PostgresLog(pool)) => {
    const offsets: number[] = [];
    const begins: number[] = [];
    for (let at = from; ; ) {
      const result = await log.read({ topic: entry, partition: 0, from: at, filter: rare });
      for (const { baseOffset, matches = [] } of result.batches)
        for (const index of matches) offsets.push(baseOffset + index);
      if (result.next > at) begins.push(result.begin ?? -1);
      at = result.next;
      if (!result.more) return { offsets, begins, next: at };
    }
  };
  await fill(rig, entry, 60, 10);
  expect(await read(0)).toEqual({ offsets: [507], begins: [0], next: 600 });
  await rig.sql`select sluice.roll_segment(${entry.number})`;
  await fill(rig, entry, 60, 10, 2);
  // From the middle of a batch, from just above a match, and over the seam.
  expect(await read(503)).toEqual({ offsets: [507, 1_107], begins: [503, 600], next: 1_200 });
  expect(await read(508)).toEqual({ offsets: [1_107], begins: [508, 600], next: 1_200 });
  expect(await read(1_200)).toEqual({ offsets: [], begins: [], next: 1_200 });
  const knowing = new PostgresLog(pool);
  expect((await read(0, knowing)).offsets).toEqual([507, 1_107]);
  await rig.sql`delete from sluice.segment where topic = ${entry.number} and segment = 0`;
  await rig.sql.unsafe(`drop table sluice_log.topic_${entry.number}_segment_0`);
  expect(await read(0)).toEqual({ offsets: [1_107], begins: [600], next: 1_200 });
  expect(await read(0, knowing)).toEqual({ offsets: [1_107], begins: [600], next: 1_200 });
});
