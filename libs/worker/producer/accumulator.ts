import type { SendResult } from "@sluice/contract";
import { limits } from "@sluice/kernel";
import type { AppendEntry } from "@sluice/log";
import type { EncodedRecord } from "./encode.ts";

/** Somebody who waits to hear what became of one or more records. */
export interface Completion {
  /** The record that was added with `index` is at `offset`, and its number in the producer's sequence is `sequence`. */
  appended(index: number, partition: number, offset: number, sequence: number): void;
  /** A guarded topic has answered for the record that was added with `index`. */
  answered(index: number, result: SendResult): void;
  failed(index: number, error: unknown): void;
}

/** A record that waits for its flush. */
export interface PendingRecord extends Omit<EncodedRecord, "priority"> {
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
 * Flushes of so many records may follow each other without a pause. With less, what two flushes cost instead of one is more than what is won
 * by working while the server does (256 callers: 64 lost a tenth, 96 won as much as 128 or less).
 */
const muchRecords = 128;

/**
 * Records of one topic that wait to be appended. What comes first goes first, whatever its partition, and a flush is bounded:
 * those who wait for it go on and fill the next while the server works on the one between. A flush of everything would
 * make senders and server take turns.
 */
export class Accumulator {
  /** Each is one flush to be: the first leaves next, the last is being filled. */
  readonly #flushes: WaitingFlush[] = [];

  /** Records that wait for a partition. */
  count(partition: number): number {
    let count = 0;
    for (const { batches } of this.#flushes) count += batches.get(partition)?.length ?? 0;
    return count;
  }

  get isEmpty(): boolean {
    return this.#flushes.length === 0;
  }

  /** Whether the next flush takes along so much that it need not wait for company. */
  get hasMuch(): boolean {
    return this.#flushes.length > 1 || (this.#flushes[0]?.records ?? 0) >= muchRecords;
  }

  add(partition: number, record: PendingRecord): void {
    let flush = this.#flushes.at(-1);
    if (
      flush === undefined ||
      flush.records >= limits.appendRecords ||
      flush.characters + record.value.length > limits.appendCharacters
    ) {
      flush = { batches: new Map(), records: 0, characters: 0 };
      this.#flushes.push(flush);
    }
    flush.records += 1;
    flush.characters += record.value.length;
    const batch = flush.batches.get(partition);
    if (batch === undefined) flush.batches.set(partition, [record]);
    else batch.push(record);
    // Put together at once, while the server works on the one before.
    if (flush.records === limits.appendRecords) flush.ready = toFlush(flush);
  }

  /** Takes the next flush: what has waited longest, its partitions in ascending order. There must be something. */
  take(): Flush {
    const flush = this.#flushes.shift() as WaitingFlush;
    return flush.ready ?? toFlush(flush);
  }
}

interface WaitingFlush {
  readonly batches: Map<number, PendingRecord[]>;
  records: number;
  characters: number;
  /** Set when it is full. */
  ready?: Flush;
}

function toFlush({ batches, records, characters }: WaitingFlush): Flush {
  const taken = [...batches].sort(([a], [b]) => a - b);
  return {
    entries: taken.map(([partition, batch]) => toEntry(partition, batch)),
    records: taken.map(([, batch]) => batch),
    recordCount: records,
    characters,
    acks: taken.some(([, batch]) => batch.some((record) => record.acks === "all")) ? "all" : 1,
  };
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
