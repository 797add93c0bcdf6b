import type { Doorbell } from "@sluice/broker";
import { type AnyTopic, basePartitions, type Partitioner, partitionOfLane } from "@sluice/contract";
import { type Clock, isSluiceError, type Logger, SluiceError, toError } from "@sluice/kernel";
import type { AppendEntry, Log, TopicEntry } from "@sluice/log";
import { Accumulator, type Flush, type PendingRecord } from "./accumulator.ts";
import type { EncodedRecord } from "./encode.ts";

/** What a producer needs to append to any topic. */
export interface FlushContext {
  readonly log: Log;
  readonly doorbell: Doorbell;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly producer: number;
  /** Reserves numbers for records: they name each of this producer's records for ever. */
  readonly reserveSequence: (count: number) => number;
  /** Called when records have left the buffer, appended or failed. */
  readonly onSettled: (records: number, characters: number) => void;
  /** For how long an append is tried again, in milliseconds. */
  readonly deliveryTimeoutMs: number;
  /** One try's deadline, in milliseconds. */
  readonly attemptTimeoutMs: number;
}

/** What of a record says where it goes. */
export type Destined = Pick<EncodedRecord, "key" | "priority">;

/** How long to wait before an append is tried again; each wait is twice the one before. */
export const firstRetryMs = 20;
/** The longest such wait. */
export const longestRetryMs = 2_000;

type FlushOutcome = { readonly offsets: readonly number[] } | { readonly error: unknown };

interface FlushUnderWay {
  readonly flush: Flush;
  readonly sequence: number;
  /** Never rejects. */
  readonly outcome: Promise<FlushOutcome>;
}

/**
 * Appends the records of one topic. One flush is under way at a time and what arrives meanwhile is the next one, so a
 * lone record leaves at once and many callers share large batches; there is no timer. One that takes much along leaves while the one before
 * is still under way, over the same connection: the server goes on with it at once, and appends it only after that.
 */
export class TopicProducer {
  readonly entry: TopicEntry;
  readonly #context: FlushContext;
  readonly #accumulator = new Accumulator();
  readonly #partitioner: Partitioner;
  readonly #waiting = (partition: number) => this.waitingIn(partition);
  /** Oldest first; a second one only while the first is under way and the second takes much along. */
  readonly #underWay: FlushUnderWay[] = [];
  #flushing: Promise<void> | undefined;

  constructor(topic: AnyTopic, entry: TopicEntry, context: FlushContext) {
    this.entry = entry;
    this.#context = context;
    this.#partitioner = topic.partitioner();
  }

  /**
   * The partition of the log for a record: the lane of its priority of the partition that was asked for, else of the
   * partitioner's. Fails with INVALID_OPTIONS when there is no such one.
   */
  pickPartition(record: Destined, wanted: number | undefined): number {
    return this.#pick(record, wanted, this.#waiting);
  }

  /** The partitions of several records, where each counts as waiting for those after it. Fails as {@link pickPartition}. */
  pickPartitions(records: readonly Destined[], wanted: number | undefined): readonly number[] {
    const picked = new Array<number>(this.entry.partitions).fill(0);
    const waiting = (partition: number) => this.#accumulator.count(partition) + (picked[partition] ?? 0);
    return records.map((record) => {
      const partition = this.#pick(record, wanted, waiting);
      picked[partition] = (picked[partition] ?? 0) + 1;
      return partition;
    });
  }

  #pick({ key, priority }: Destined, wanted: number | undefined, waitingIn: (partition: number) => number): number {
    const partitions = basePartitions(this.entry);
    const waiting = this.entry.priorities === 1 ? waitingIn : this.#overLanes(waitingIn);
    const base = wanted ?? this.#partitioner({ key, partitions, waiting });
    if (Number.isInteger(base) && base >= 0 && base < partitions)
      return partitionOfLane({ base, priority }, this.entry);
    throw new SluiceError(
      "INVALID_OPTIONS",
      `topic ${this.entry.name} has partitions 0 to ${partitions - 1}, not ${base}; nothing was sent`,
    );
  }

  /** What waits for a partition waits in its lanes. */
  #overLanes(waitingIn: (partition: number) => number): (partition: number) => number {
    return (base) => {
      let sum = 0;
      for (let priority = 0; priority < this.entry.priorities; priority += 1) {
        sum += waitingIn(partitionOfLane({ base, priority }, this.entry));
      }
      return sum;
    };
  }

  /** Refuses a batch that this topic cannot take as it is; nothing has been taken of it then. */
  checkBatch(_records: readonly EncodedRecord[]): void {}

  /** Records that wait for a partition. */
  protected waitingIn(partition: number): number {
    return this.#accumulator.count(partition);
  }

  /** Takes a record; its completion hears what becomes of it. Tell with {@link added} when that was all. */
  add(partition: number, record: PendingRecord): void {
    this.#accumulator.add(partition, record);
  }

  /** What a caller sends at once has been taken, and may leave. */
  added(): void {
    // Begun in a microtask, so that what the same turn of the caller sends goes along.
    this.#flushing ??= Promise.resolve().then(() => this.#run());
    if (this.#accumulator.hasMuch) this.#launch();
  }

  /** Resolves when everything taken so far is settled. */
  async idle(): Promise<void> {
    while (this.#flushing !== undefined) await this.#flushing;
  }

  async #run(): Promise<void> {
    this.#launch();
    for (let oldest = this.#underWay[0]; oldest !== undefined; oldest = this.#underWay[0]) {
      const outcome = await oldest.outcome;
      this.#underWay.shift();
      // The next one leaves before those who wait for this one are told: the server works while they go on.
      this.#launch();
      this.#context.onSettled(oldest.flush.recordCount, oldest.flush.characters);
      this.#settle(oldest, outcome);
      this.#launch();
    }
    // In the same turn as the look that found nothing: the next record begins anew.
    this.#flushing = undefined;
  }

  /** Begins what may be under way now. */
  #launch(): void {
    while (!this.#accumulator.isEmpty) {
      const [before, another] = this.#underWay;
      if (another !== undefined || (before !== undefined && !this.#accumulator.hasMuch)) return;
      this.#underWay.push(this.#begin(before));
    }
  }

  #begin(before: FlushUnderWay | undefined): FlushUnderWay {
    const flush = this.#accumulator.take();
    const sequence = this.#context.reserveSequence(flush.recordCount);
    const outcome = this.#append(flush, sequence, before).then(
      (offsets) => ({ offsets }),
      (error: unknown) => ({ error }),
    );
    return { flush, sequence, outcome };
  }

  /** Tries until it is known what became of the flush, or the time is up. */
  async #append(flush: Flush, sequence: number, before: FlushUnderWay | undefined): Promise<readonly number[]> {
    const { log, doorbell, clock, logger, producer, deliveryTimeoutMs, attemptTimeoutMs } = this.#context;
    const deadline = clock.now() + deliveryTimeoutMs;
    const partitions = flush.entries.map((entry) => entry.partition);
    const ring = doorbell.tryRide(this.entry.number, partitions);
    let repeat = false;
    let after = before === undefined ? null : sequenceBefore(before, partitions);
    for (let waitMs = firstRetryMs; ; waitMs = Math.min(waitMs * 2, longestRetryMs)) {
      try {
        const offsets = await log.append({
          topic: this.entry,
          entries: flush.entries,
          producer,
          sequence,
          repeat,
          after,
          acks: flush.acks,
          ring,
          deadlineMs: attemptTimeoutMs,
        });
        if (ring === null) doorbell.ringLog(this.entry.number, partitions);
        return offsets;
      } catch (error) {
        repeat ||= mayHaveTakenEffect(error);
        // The one before has a place in the log by now, or never will: order is kept either way.
        await before?.outcome;
        after = null;
        if (isSluiceError(error, "OUT_OF_SEQUENCE")) continue;
        if (!isWorthRepeating(error) || clock.now() + waitMs > deadline) throw verdict(error, repeat, this.entry.name);
        logger.log("warn", "an append failed and is tried again; it will not be doubled", {
          topic: this.entry.name,
          records: flush.recordCount,
          error: toError(error),
        });
        await new Promise<void>((resolve) => setTimeout(resolve, waitMs));
      }
    }
  }

  /** Tells those who wait for the records of a flush. */
  #settle({ flush, sequence }: FlushUnderWay, outcome: FlushOutcome): void {
    const debug = this.#context.logger.isEnabled("debug");
    let number = sequence;
    for (let index = 0; index < flush.records.length; index += 1) {
      const partition = (flush.entries[index] as AppendEntry).partition;
      let offset = "error" in outcome ? 0 : (outcome.offsets[index] as number);
      for (const record of flush.records[index] as readonly PendingRecord[]) {
        if ("error" in outcome) {
          record.completion.failed(record.index, outcome.error);
        } else {
          record.completion.appended(record.index, partition, offset, number);
          if (debug) this.#logSent(record, partition, offset, number);
        }
        offset += 1;
        number += 1;
      }
    }
  }

  #logSent(record: PendingRecord, partition: number, offset: number, number: number): void {
    const { logger, producer } = this.#context;
    const topic = this.entry.name;
    logger.log("debug", "sent", { topic, partition, offset, key: record.key, id: `${producer}-${number}` });
  }
}

/** The sequence of a batch of a flush: of a partition that the next flush appends to as well, if there is one. */
function sequenceBefore({ flush, sequence }: FlushUnderWay, partitions: readonly number[]): number {
  let next = sequence;
  for (const { partition, count } of flush.entries) {
    if (partitions.includes(partition)) return next;
    next += count;
  }
  return sequence;
}

const uniqueViolation = "23505";

/**
 * Whether the database may have committed although the answer is an error: the connection or the deadline went. A server
 * that answers with an error of the statement has rolled back; one that shuts down may have committed before it said so.
 */
export function mayHaveTakenEffect(error: unknown): boolean {
  if (!isSluiceError(error)) return true;
  if (error.sqlState === undefined) return true;
  return error.sqlState === uniqueViolation || /^(57P|08)/.test(error.sqlState);
}

/** Whether trying an append again can help, or tell. */
export function isWorthRepeating(error: unknown): boolean {
  // The sequence is there already: an earlier try took effect after all, and a repeat will tell where.
  return isSluiceError(error) && (error.retryable || error.sqlState === uniqueViolation);
}

/** What the caller hears in the end: COMMIT_UNKNOWN when an earlier try may have taken effect. */
export function verdict(error: unknown, unknown: boolean, topic: string): unknown {
  if (!unknown) return error;
  return new SluiceError(
    "COMMIT_UNKNOWN",
    `sending to topic ${topic}: the database could not be asked in time whether the records were appended. They may be in the log.`,
    { cause: error },
  );
}
