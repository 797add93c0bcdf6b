import type { ConsumedRecord, Topic } from "@sluice/contract";
import type { Log, ReadBatch, ReadResult, TopicEntry } from "@sluice/log";
import { BatchRecord } from "./batch-record.ts";

/** What to read. */
export interface ReadOptions {
  readonly partition: number;
  /** The first offset; default 0. What retention has dropped is skipped. */
  readonly from?: number;
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
  let from = options.from ?? 0;
  let reading: Promise<ReadResult> | undefined;
  try {
    for (;;) {
      const result: ReadResult = await (reading ?? log.read({ topic: entry, partition: options.partition, from }));
      reading = result.more ? log.read({ topic: entry, partition: options.partition, from: result.next }) : undefined;
      // It is awaited in the next turn; until then its failure is not an unhandled one.
      reading?.catch(() => undefined);
      for (const batch of result.batches) yield recordsOf(topic, options.partition, batch, from);
      from = result.next;
      if (!result.more) return;
    }
  } finally {
    await reading?.catch(() => undefined);
  }
}

function recordsOf<Value>(
  topic: Topic<Value>,
  partition: number,
  batch: ReadBatch,
  from: number,
): readonly ConsumedRecord<Value>[] {
  const records: ConsumedRecord<Value>[] = [];
  for (let index = Math.max(0, from - batch.baseOffset); index < batch.count; index += 1) {
    records.push(new BatchRecord(topic.name, partition, batch, index, topic.codec.decode(batch.values[index])));
  }
  return records;
}
