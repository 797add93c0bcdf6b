import { type ConsumedRecord, parseFilter, type Topic, timeMs } from "@sluice/contract";
import { type Problem, problemsError, SluiceError } from "@sluice/kernel";
import type { Log, ReadBatch, ReadResult, TopicEntry } from "@sluice/log";
import { BatchRecord } from "./batch-record.ts";

/** What to read. */
export interface ReadOptions {
  readonly partition: number;
  /** The first offset, or the first message appended at a time or later; default 0. What retention has dropped is skipped. */
  readonly from?: number | ReadTime;
  /** Where to end: before this offset, or before what was appended at a time or later. Default the end of the log. */
  readonly to?: number | ReadTime;
  /** Only these, as a consumer's `filter`. Default: all. A filter that is not written well fails with INVALID_OPTIONS. */
  readonly filter?: string;
}

/** A place in the log by the database's clock: a date, a text such as `2026-01-31T12:00:00Z`, or milliseconds since 1970. */
export interface ReadTime {
  readonly time: Date | string | number;
}

/**
 * Reads a partition without a group, from an offset to what was its end when it got there, in pieces as they come from the
 * log: while one is used, the next is on its way. A record that does not fit the topic's schema ends it with INVALID_VALUE.
 */
export async function* readPartition<Value>(
  log: Log,
  topic: Topic<Value>,
  entry: TopicEntry,
  options: ReadOptions,
): AsyncGenerator<readonly ConsumedRecord<Value>[], void, void> {
  const filter = options.filter === undefined ? {} : { filter: parseFilter(options.filter) };
  const read = (at: number) => log.read({ topic: entry, partition: options.partition, from: at, ...filter });
  const problems = problemsOf(entry, options);
  if (problems.length > 0) throw problemsError("INVALID_OPTIONS", `topic ${topic.name} was not read:`, problems);
  let from = await offsetOf(log, entry, options.partition, "from", options.from ?? 0);
  // Without a bound of the caller's: up to the end as it is now, so that reading a busy partition ends.
  const to =
    options.to === undefined
      ? ((await log.ends([{ topic: entry.number, partition: options.partition }]))[0]?.end ?? 0)
      : await offsetOf(log, entry, options.partition, "to", options.to);
  let reading: Promise<ReadResult> | undefined;
  try {
    while (from < to) {
      const result: ReadResult = await (reading ?? read(from));
      reading = result.more && result.next < to ? read(result.next) : undefined;
      // It is awaited in the next turn; until then its failure is not an unhandled one.
      reading?.catch(() => undefined);
      for (const batch of result.batches) {
        if (batch.baseOffset < to) yield recordsOf(topic, options.partition, batch, from, to);
      }
      // A read may say that there is no more where a segment ends that was the newest when it was looked up.
      if (!result.more && result.next === from) return;
      from = result.next;
    }
  } finally {
    await reading?.catch(() => undefined);
  }
}

function problemsOf({ partitions }: TopicEntry, { partition, from = 0, to = 0 }: ReadOptions): Problem[] {
  const problems: Problem[] = [];
  if (!Number.isInteger(partition) || partition < 0 || partition >= partitions) {
    problems.push({ path: "partition", message: `must be from 0 to ${partitions - 1}, not ${partition}` });
  }
  for (const [path, place] of Object.entries({ from, to })) {
    if (typeof place === "number" && (!Number.isSafeInteger(place) || place < 0)) {
      problems.push({ path, message: `must be an offset from 0 on, or a time, not ${place}` });
    }
  }
  return problems;
}

function recordsOf<Value>(
  topic: Topic<Value>,
  partition: number,
  batch: ReadBatch,
  from: number,
  to: number,
): readonly ConsumedRecord<Value>[] {
  const records: ConsumedRecord<Value>[] = [];
  const end = Math.min(batch.count, to - batch.baseOffset);
  const add = (index: number) =>
    records.push(new BatchRecord(topic.name, partition, batch, index, topic.codec.decode(batch.values[index])));
  if (batch.matches === undefined) {
    for (let index = Math.max(0, from - batch.baseOffset); index < end; index += 1) add(index);
  } else {
    for (const index of batch.matches) if (index < end) add(index);
  }
  return records;
}

async function offsetOf(
  log: Log,
  entry: TopicEntry,
  partition: number,
  name: "from" | "to",
  place: number | ReadTime,
): Promise<number> {
  if (typeof place === "number") return place;
  const ms = timeMs(place.time);
  if (ms !== undefined) return await log.offsetAt({ topic: entry.number, partition }, ms);
  throw new SluiceError("INVALID_OPTIONS", `${name}.time must be a time between 1970 and 9999; nothing was read`);
}
