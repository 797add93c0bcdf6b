import { expect, test } from "bun:test";
import { topic } from "@sluice/contract";
import { Pool } from "@sluice/store";
import { testDatabase } from "@sluice/testkit";
import { z } from "zod";
import { openTopic, PostgresLog, type TopicEntry } from "./index.ts";

const numbers = (storage: {
  retention?: { time?: "1ms" | "1d"; bytes?: number };
  segment?: { time?: "1ms"; bytes?: number };
}) => topic("numbers", { schema: z.number(), partitions: 2, ...storage });

async function append(
  log: PostgresLog,
  entry: TopicEntry,
  sequence: number,
  partition = 0,
): Promise<readonly number[]> {
  return await log.append({
    topic: entry,
    entries: [{ partition, count: 2, keys: null, records: `[${sequence},${sequence + 1}]`, attributes: null }],
    producer: 1,
    sequence,
    repeat: false,
    after: null,
    acks: "all",
    ring: null,
    deadlineMs: 10_000,
  });
}

async function readAll(log: PostgresLog, entry: TopicEntry, from: number): Promise<unknown[]> {
  const values: unknown[] = [];
  for (let next = from; ; ) {
    const result = await log.read({ topic: entry, partition: 0, from: next });
    values.push(...result.batches.flatMap((batch) => batch.values));
    if (result.batches.length === 0) return values;
    next = result.next;
  }
}

test("old segments are dropped whole, offsets go on, and what is left is read across segments", async () => {
  await using database = await testDatabase();
  const pool = new Pool(database.url, { connections: 3, applicationName: "test" });
  try {
    const entry = await openTopic(pool, numbers({ retention: { time: "1ms" }, segment: { time: "1ms" } }), {
      create: true,
    });
    const log = new PostgresLog(pool);
    expect(await append(log, entry, 0)).toEqual([0]);
    expect(await log.trim(entry)).toEqual({ rolled: true, dropped: [] });
    expect(await append(log, entry, 2)).toEqual([2]);
    expect(await readAll(log, entry, 0)).toEqual([0, 1, 2, 3]);

    // The first segment was closed more than a millisecond ago by now; the second is rolled and kept.
    expect(await log.trim(entry)).toEqual({ rolled: true, dropped: [0] });
    expect(await log.ends([{ topic: entry.number, partition: 0 }])).toEqual([
      { topic: entry.number, partition: 0, start: 2, end: 4 },
    ]);
    expect(await readAll(log, entry, 0)).toEqual([2, 3]);

    // A partition that was empty all along, and one whose segments are gone but the newest, both go on where they were.
    await log.trim(entry);
    expect(await append(log, entry, 4)).toEqual([4]);
    expect(await append(log, entry, 6, 1)).toEqual([0]);
    const tables = await pool.query<{ count: string }>(
      "counting",
      "select count(*) from pg_class where relname ~ $1 and relkind = 'r'",
      [`^topic_${entry.number}_segment_`],
    );
    const segments = await pool.query<{ count: string }>(
      "counting",
      "select count(*) from sluice.segment where topic = $1",
      [entry.number],
    );
    expect(tables).toEqual(segments);
  } finally {
    await pool.close();
  }
});

test("a topic keeps what its retention by size allows, and the newest segment always", async () => {
  await using database = await testDatabase();
  const pool = new Pool(database.url, { connections: 2, applicationName: "test" });
  try {
    const entry = await openTopic(pool, numbers({ retention: { bytes: 1 }, segment: { bytes: 1 } }), { create: true });
    const log = new PostgresLog(pool);
    expect(await log.trim(entry)).toEqual({ rolled: false, dropped: [] });
    await append(log, entry, 0);
    expect(await log.trim(entry)).toEqual({ rolled: true, dropped: [] });
    expect(await log.trim(entry)).toEqual({ rolled: false, dropped: [0] });
    expect(await readAll(log, entry, 0)).toEqual([]);
    expect(await append(log, entry, 2)).toEqual([2]);
  } finally {
    await pool.close();
  }
});

test("a reader elsewhere does not keep a segment from being dropped, and a segment in use is dropped by the next round", async () => {
  await using database = await testDatabase();
  const pool = new Pool(database.url, { connections: 3, applicationName: "test" });
  try {
    const entry = await openTopic(pool, numbers({ retention: { time: "1ms" }, segment: { time: "1ms" } }), {
      create: true,
    });
    const log = new PostgresLog(pool);
    await append(log, entry, 0);
    await log.trim(entry);
    await append(log, entry, 2);
    const reader = await pool.sql.reserve();
    await reader.unsafe("begin");
    await reader.unsafe("select count(*) from topics.numbers");
    await expect(log.trim(entry)).rejects.toMatchObject({ code: "DATABASE_CONTENTION", retryable: true });
    // Off the list at once, though its table is still there.
    expect(await readAll(log, entry, 0)).toEqual([2, 3]);
    await reader.unsafe("rollback");
    reader.release();
    await log.trim(entry);
    const left = await pool.query("looking", "select relname from pg_class where relname = $1", [
      `topic_${entry.number}_segment_0`,
    ]);
    expect(left).toEqual([]);
  } finally {
    await pool.close();
  }
});

test("reading on finds what comes next in this segment, in a new one, and after what was dropped", async () => {
  await using database = await testDatabase();
  const pool = new Pool(database.url, { connections: 3, applicationName: "test" });
  try {
    const entry = await openTopic(pool, numbers({ retention: { time: "1ms" }, segment: { time: "1ms" } }), {
      create: true,
    });
    const log = new PostgresLog(pool);
    const readOn = async (from: number) => {
      const { batches, next, more } = await log.read({ topic: entry, partition: 0, from, isNext: true });
      return { values: batches.flatMap((batch) => batch.values), next, more };
    };
    expect(await readOn(0)).toEqual({ values: [], next: 0, more: false });
    await append(log, entry, 0);
    expect(await readOn(0)).toEqual({ values: [0, 1], next: 2, more: false });
    expect(await readOn(2)).toEqual({ values: [], next: 2, more: false });
    await log.trim(entry);
    await append(log, entry, 2);
    expect(await readOn(2)).toEqual({ values: [2, 3], next: 4, more: false });
    // Eight batches are what one read of this kind gives; the rest is said to be there.
    for (let sequence = 4; sequence < 22; sequence += 2) await append(log, entry, sequence);
    const [first, second] = [await readOn(4), await readOn(20)];
    expect([first.values.length, first.next, first.more]).toEqual([16, 20, true]);
    expect(second).toEqual({ values: [20, 21], next: 22, more: false });
    // From the middle of a batch, and from below what is left, it is an ordinary read.
    expect((await readOn(5)).values.slice(0, 3)).toEqual([4, 5, 6]);
    await log.trim(entry);
    await append(log, entry, 22);
    await log.trim(entry);
    expect((await readOn(0)).values).toEqual([22, 23]);
  } finally {
    await pool.close();
  }
});
