import type { OffsetRange } from "@sluice/broker";
import type { Filter } from "@sluice/contract";
import type { Clock, Logger } from "@sluice/kernel";
import type { Log, ReadBatch, ReadResult, TopicEntry } from "@sluice/log";
import { insist } from "./insist.ts";
import type { LeasedRange } from "./leased-range.ts";
import { pause } from "./pause.ts";

/** Partitions of which something that was read is kept, at most. */
const keptPartitions = 16;
const leastCharacters = 128 * 1_024;
const mostCharacters = 1_048_576;
const mostScannedBatches = 2_000;
const missingPauseMs = 500;

/** What a reader works with. */
export interface RangeReaderContext {
  readonly log: Log;
  readonly entry: TopicEntry;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly names: Readonly<Record<string, unknown>>;
  /** Only what it lets through is read; the rest is told to `onPassedOver`. */
  readonly filter: Filter | undefined;
  readonly onPassedOver: (range: LeasedRange, from: number, to: number) => void;
  /** Aborted when nothing is to be read any more. */
  readonly signal: AbortSignal;
}

/** What was read of a range, and from where to read on. */
interface RangeRead {
  readonly batches: readonly ReadBatch[];
  readonly next: number;
}

/**
 * Reads ranges of a topic. Ranges end within batches; what was read beyond one's end is kept for the next, which usually goes on
 * right there.
 */
export class RangeReader {
  readonly #context: RangeReaderContext;
  readonly #kept = new Map<number, readonly ReadBatch[]>();
  /** The last read with a filter, and where it began: what it found beyond a range is usually the next one's. */
  readonly #scans = new Map<number, { readonly from: number; readonly result: ReadResult }>();
  /** Where the last batch that was read ends, when there was no more behind it. */
  readonly #ends = new Map<number, number>();
  #charactersPerRecord = 256;

  constructor(context: RangeReaderContext) {
    this.#context = context;
  }

  /** The batches of a range, until it is lost. What retention has dropped of it counts as done. */
  async *batchesOf(range: LeasedRange): AsyncGenerator<ReadBatch, void, void> {
    if (this.#context.filter !== undefined) {
      yield* this.#matchesOf(range, this.#context.filter);
      return;
    }
    for (let from = range.from; from < range.to && !range.isOver; ) {
      const read = await this.#untilRead(range.partition, from, range.to);
      if (read === "stopped") return;
      const first = read.batches[0]?.baseOffset ?? read.next;
      if (first > from) {
        this.#warnOfDropped(range.partition, from, Math.min(first, range.to));
        range.skipTo(first);
      }
      yield* read.batches;
      if (read.next > from) from = read.next;
      else await this.#untilThere(range, from);
    }
  }

  /** The same with a filter: what it keeps back is done before a batch is given. */
  async *#matchesOf(range: LeasedRange, filter: Filter): AsyncGenerator<ReadBatch, void, void> {
    const { partition, to } = range;
    const names = { ...this.#context.names, partition };
    for (let from = range.from; from < to && !range.isOver; ) {
      const at = from;
      const result = await insist("reading", this.#context, () => this.#scan(partition, at, to, filter), names);
      if (result === "stopped") return;
      const begin = Math.max(from, Math.min(result.begin ?? result.next, to));
      if (begin > from) {
        this.#warnOfDropped(partition, from, begin);
        range.skipTo(begin);
      }
      for (const [first, end] of gaps(result, begin, to)) this.#context.onPassedOver(range, first, end);
      yield* result.batches.filter((batch) => batch.baseOffset < to && endOf(batch) > from);
      if (result.next > from) from = result.next;
      else await this.#untilThere(range, from);
    }
  }

  /**
   * What is leased was in the log. Where that has neither the messages nor dropped them, somebody set it back, and what is leased is most
   * likely void: nothing of it counts as done, and who renews it will hear.
   */
  async #untilThere(range: LeasedRange, from: number): Promise<void> {
    const { logger, names, clock, signal } = this.#context;
    logger.log("warn", "the log does not have what is leased; it is read again", {
      ...names,
      partition: range.partition,
      from,
      to: range.to,
    });
    await pause(clock, missingPauseMs, signal, range.signal);
  }

  async #scan(partition: number, from: number, to: number, filter: Filter): Promise<ReadResult> {
    const last = this.#scans.get(partition);
    if (last !== undefined && last.from <= from && last.result.next > from) return last.result;
    // A range has no more batches than messages. Somewhat more is read, for the ranges after it.
    const maxBatches = Math.min(mostScannedBatches, 2 * (to - from) + 1);
    const { entry: topic, log } = this.#context;
    const result = await log.read({ topic, partition, from, filter, maxBatches });
    this.#scans.delete(partition);
    this.#scans.set(partition, { from, result });
    const [oldest] = this.#scans.keys();
    if (this.#scans.size > keptPartitions && oldest !== undefined) this.#scans.delete(oldest);
    return result;
  }

  /** The batch that holds one message; `undefined` when retention has dropped it, `"stopped"` when nothing is read any more. */
  async batchAt(partition: number, offset: number): Promise<ReadBatch | "stopped" | undefined> {
    const read = await this.#untilRead(partition, offset, offset + 1);
    if (read === "stopped") return read;
    const batch = read.batches[0];
    if (batch !== undefined && batch.baseOffset <= offset) return batch;
    this.#warnOfDropped(partition, offset, offset + 1);
    return undefined;
  }

  #untilRead(partition: number, from: number, to: number): Promise<RangeRead | "stopped"> {
    const names = { ...this.#context.names, partition };
    return insist("reading", this.#context, () => this.#read(partition, from, to), names);
  }

  /** Batches that hold offsets of `from` to `to`; perhaps not all of them, then `next` says where to read on. */
  async #read(partition: number, from: number, to: number): Promise<RangeRead> {
    const kept = this.#kept.get(partition);
    this.#kept.delete(partition);
    const usable = kept?.[0] !== undefined && kept[0].baseOffset <= from ? kept.filter((one) => endOf(one) > from) : [];
    const { batches, next } =
      usable.length > 0 ? { batches: usable, next: from } : await this.#fetch(partition, from, to);
    const last = batches.at(-1);
    if (last === undefined) return { batches, next };
    if (endOf(last) > to)
      this.#keep(
        partition,
        batches.filter((batch) => endOf(batch) > to),
      );
    return { batches: batches.filter((batch) => batch.baseOffset < to), next: Math.min(endOf(last), to) };
  }

  #warnOfDropped(partition: number, from: number, to: number): void {
    this.#context.logger.log("warn", "records were dropped by retention before this group had handled them", {
      ...this.#context.names,
      partition,
      from,
      to,
    });
  }

  async #fetch(partition: number, from: number, to: number): Promise<RangeRead> {
    const expected = Math.ceil(this.#charactersPerRecord * (to - from) * 1.25);
    const { batches, next, more } = await this.#context.log.read({
      topic: this.#context.entry,
      partition,
      from,
      isNext: this.#ends.get(partition) === from,
      maxCharacters: Math.min(mostCharacters, Math.max(leastCharacters, expected)),
    });
    const last = batches.at(-1);
    if (last === undefined) return { batches, next };
    if (more) this.#ends.delete(partition);
    else this.#ends.set(partition, endOf(last));
    const characters = batches.reduce((sum, batch) => sum + batch.characters, 0);
    const records = batches.reduce((sum, batch) => sum + batch.count, 0);
    this.#charactersPerRecord += (characters / records - this.#charactersPerRecord) / 4;
    return { batches, next };
  }

  #keep(partition: number, batches: readonly ReadBatch[]): void {
    this.#kept.set(partition, batches);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > keptPartitions && oldest !== undefined) this.#kept.delete(oldest);
  }
}

/** What lies from `from` to `to` between the records that a filter let through, as far as the read came. */
function* gaps(result: ReadResult, from: number, to: number): Generator<OffsetRange, void, void> {
  let at = from;
  for (const { baseOffset, matches = [] } of result.batches) {
    for (const index of matches) {
      const offset = baseOffset + index;
      if (offset >= to) break;
      if (offset > at) yield [at, offset];
      if (offset >= at) at = offset + 1;
    }
  }
  const end = Math.min(to, result.next);
  if (end > at) yield [at, end];
}

function endOf(batch: ReadBatch): number {
  return batch.baseOffset + batch.count;
}
