import { limits } from "@sluice/kernel";
import type { AppendEntry } from "@sluice/log";
import type { EncodedRecord } from "./encode.ts";

/** Somebody who waits to hear what became of one or more records. */
export interface Completion {
  /** The record that was added with `index` is at `offset`, and its number in the producer's sequence is `sequence`. */
  appended(index: number, partition: number, offset: number, sequence: number): void;
  failed(index: number, error: unknown): void;
}

/** A record that waits for its flush. */
export interface PendingRecord extends EncodedRecord {
  readonly acks: 1 | "all";
  readonly completion: Completion;
  readonly index: number;
}

/** What one flush takes along. */
export interface Flush {
  readonly entries: readonly AppendEntry[];
  /** The records of each entry, in order. */
  readonly records: readonly (readonly PendingRecord[])[];
  readonly recordCount: number;
  /** Characters of the values. */
  readonly characters: number;
  readonly acks: 1 | "all";
}

/**
 * Records and characters after which a flush takes no further partition along. More would not be faster: while the server
 * works on one flush, the next is encoded here.
 */
const flushRecords = 2_048;
const flushCharacters = limits.batchCharacters;

/** Records of one topic that wait to be appended, by partition. */
export class Accumulator {
  readonly #waiting = new Map<number, PendingRecord[]>();

  /** Records that wait for a partition. */
  count(partition: number): number {
    return this.#waiting.get(partition)?.length ?? 0;
  }

  get isEmpty(): boolean {
    return this.#waiting.size === 0;
  }

  add(partition: number, record: PendingRecord): void {
    const waiting = this.#waiting.get(partition);
    if (waiting === undefined) this.#waiting.set(partition, [record]);
    else waiting.push(record);
  }

  /** Takes what one flush may hold: partitions that have waited longest first, oldest records first, in ascending order. */
  take(): Flush {
    const taken: (readonly [partition: number, batch: readonly PendingRecord[]])[] = [];
    let recordCount = 0;
    let characters = 0;
    let acks: 1 | "all" = 1;
    for (const partition of [...this.#waiting.keys()]) {
      if (recordCount >= flushRecords || characters >= flushCharacters) break;
      const batch = this.#takeBatch(partition);
      taken.push([partition, batch]);
      recordCount += batch.length;
      for (const record of batch) {
        characters += record.value.length;
        if (record.acks === "all") acks = "all";
      }
    }
    taken.sort(([a], [b]) => a - b);
    return {
      entries: taken.map(([partition, batch]) => toEntry(partition, batch)),
      records: taken.map(([, batch]) => batch),
      recordCount,
      characters,
      acks,
    };
  }

  #takeBatch(partition: number): readonly PendingRecord[] {
    const waiting = this.#waiting.get(partition) ?? [];
    let count = 0;
    let characters = 0;
    while (count < waiting.length && count < limits.batchRecords) {
      characters += waiting[count]?.value.length ?? 0;
      if (count > 0 && characters > limits.batchCharacters) break;
      count += 1;
    }
    // The map keeps the order of insertion: what stays goes to its end.
    this.#waiting.delete(partition);
    if (count === waiting.length) return waiting;
    this.#waiting.set(partition, waiting.slice(count));
    return waiting.slice(0, count);
  }
}

function toEntry(partition: number, batch: readonly PendingRecord[]): AppendEntry {
  let hasKey = false;
  let hasAttributes = false;
  for (const record of batch) {
    hasKey ||= record.key !== null;
    hasAttributes ||= record.attributes !== null;
  }
  return {
    partition,
    count: batch.length,
    keys: hasKey ? JSON.stringify(batch.map((record) => record.key)) : null,
    records: `[${batch.map((record) => record.value).join(",")}]`,
    attributes: hasAttributes ? `[${batch.map((record) => record.attributes ?? "null").join(",")}]` : null,
  };
}
