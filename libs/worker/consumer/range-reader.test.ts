import { expect, test } from "bun:test";
import { consumer, topic } from "@sluice/contract";
import { silentLogger, systemClock } from "@sluice/kernel";
import type { Log, ReadBatch, ReadRequest, ReadResult, TopicEntry } from "@sluice/log";
import { z } from "zod";
import type { Expiry } from "./expiry.ts";
import { LeasedRange } from "./leased-range.ts";
import type { DeliveryServices } from "./message.ts";
import { RangeReader } from "./range-reader.ts";

const numbers = topic("numbers", { schema: z.number(), partitions: 1 });

const batch = (baseOffset: number, count: number): ReadBatch => ({
  baseOffset,
  count,
  characters: count,
  appendedAtMs: 0,
  producer: null,
  sequence: 0,
  keys: null,
  values: [],
  attributes: null,
  matches: Array.from({ length: count }, (_, index) => index),
});

const found = (baseOffset: number, count: number): ReadResult => ({
  batches: [batch(baseOffset, count)],
  next: baseOffset + count,
  more: false,
  begin: baseOffset,
});

const nothing = (next: number): ReadResult => ({ batches: [], next, more: false });

/** Reads the range of offsets 10 to 19 from a log that gives these answers: which batches come, and what is done then. */
async function readRange(isFiltered: boolean, answers: ReadResult[]) {
  const filter = isFiltered ? { filter: "key is null" } : {};
  const declared = consumer(numbers, { group: "workers", mode: "shared", ...filter, handler: () => undefined });
  const range = new LeasedRange(
    {
      consumer: declared,
      handler: () => undefined,
      services: {} as DeliveryServices,
      expiryOf: () => ({}) as Expiry,
      acknowledgeNow: async () => undefined,
    },
    0,
    { lease: 1, position: 1, from: 10, to: 20, done: [], deliveries: 0 },
  );
  const asked: number[] = [];
  const read = async ({ from }: ReadRequest) => {
    asked.push(from);
    const answer = answers.shift();
    if (answers.length === 0 && answer === undefined) range.lose();
    return answer ?? nothing(from);
  };
  const reader = new RangeReader({
    log: { read } as unknown as Log,
    entry: { name: "numbers", number: 1 } as TopicEntry,
    logger: silentLogger,
    clock: systemClock,
    names: {},
    filter: declared.filter,
    onPassedOver: (passed, from, to) => passed.passOver(from, to),
    signal: new AbortController().signal,
  });
  const batches: string[] = [];
  for await (const { baseOffset, count } of reader.batchesOf(range)) batches.push(`${baseOffset} + ${count}`);
  const undone = Array.from({ length: 10 }, (_, index) => 10 + index).filter((offset) => !range.isDone(offset));
  return { batches, asked, undone };
}

for (const isFiltered of [false, true]) {
  const how = isFiltered ? "with a filter" : "without a filter";

  test(`[M1][I14] what retention has dropped of a range counts as done, and nothing else does (${how})`, async () => {
    expect(await readRange(isFiltered, [found(15, 5)])).toEqual({
      batches: ["15 + 5"],
      asked: [10],
      undone: [15, 16, 17, 18, 19],
    });
    // The log goes on at 15, and has nothing there yet that this read could see.
    expect(await readRange(isFiltered, [nothing(15), found(15, 5)])).toEqual({
      batches: ["15 + 5"],
      asked: [10, 15],
      undone: [15, 16, 17, 18, 19],
    });
    expect(await readRange(isFiltered, [nothing(30)])).toEqual({ batches: [], asked: [10], undone: [] });
  });

  test(`[M1][I14] a read that finds nothing does not make leased messages done: they are read again, until the lease is lost (${how})`, async () => {
    const all = Array.from({ length: 10 }, (_, index) => 10 + index);
    expect(await readRange(isFiltered, [nothing(10), found(10, 10)])).toEqual({
      batches: ["10 + 10"],
      asked: [10, 10],
      undone: all,
    });
    expect(await readRange(isFiltered, [nothing(10)])).toEqual({ batches: [], asked: [10, 10], undone: all });
  });
}
