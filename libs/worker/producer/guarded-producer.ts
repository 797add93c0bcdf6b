import type { AnyTopic, SendResult } from "@sluice/contract";
import { limits, SluiceError, toError } from "@sluice/kernel";
import type { GuardedAnswer, GuardedRecord, TopicEntry } from "@sluice/log";
import type { Completion, PendingRecord } from "./accumulator.ts";
import type { EncodedRecord } from "./encode.ts";
import {
  type FlushContext,
  firstRetryMs,
  isWorthRepeating,
  longestRetryMs,
  mayHaveTakenEffect,
  TopicProducer,
  verdict,
} from "./topic-producer.ts";

/** What is taken whole or not at all: a send, or a batch of sends. */
interface Unit {
  readonly completion: Completion;
  readonly partitions: number[];
  readonly records: PendingRecord[];
  characters: number;
}

type FlushOutcome = { readonly answers: readonly GuardedAnswer[] } | { readonly error: unknown };

/** Characters of the values of one batch to a bounded topic, which must travel as one. */
const unitCharacters = 16 * limits.appendCharacters;

/** Whether a topic is appended to past its guard. */
export function isGuarded({ guards }: TopicEntry): boolean {
  return guards.deduplicateMs !== null || guards.maxDepth !== null;
}

/**
 * Appends the records of a topic that deduplicates or is bounded. As its elder it has one flush under way, and what arrives
 * meanwhile is the next; but a flush is a list of units in the order of sending, and each hears what became of it.
 */
export class GuardedProducer extends TopicProducer {
  readonly #context: FlushContext;
  readonly #isBounded: boolean;
  readonly #units: Unit[] = [];
  readonly #waiting: number[];
  #flushing: Promise<void> | undefined;

  constructor(topic: AnyTopic, entry: TopicEntry, context: FlushContext) {
    super(topic, entry, context);
    this.#context = context;
    this.#isBounded = entry.guards.maxDepth !== null;
    this.#waiting = new Array<number>(entry.partitions).fill(0);
  }

  override checkBatch(records: readonly EncodedRecord[]): void {
    if (!this.#isBounded) return;
    const characters = records.reduce((sum, { value }) => sum + value.length, 0);
    if (records.length <= limits.appendRecords && characters <= unitCharacters) return;
    throw new SluiceError(
      "RECORD_TOO_LARGE",
      `a batch to the bounded topic ${this.entry.name} is sent whole or not at all and takes ${limits.appendRecords} messages and ${unitCharacters} characters at most; nothing was sent`,
    );
  }

  override add(partition: number, record: PendingRecord): void {
    let unit = this.#units.at(-1);
    if (unit?.completion !== record.completion || this.#mustSplit(unit)) {
      unit = { completion: record.completion, partitions: [], records: [], characters: 0 };
      this.#units.push(unit);
    }
    unit.partitions.push(partition);
    unit.records.push(record);
    unit.characters += record.value.length;
    this.#waiting[partition] = this.waitingIn(partition) + 1;
  }

  override added(): void {
    this.#flushing ??= Promise.resolve().then(() => this.#run());
  }

  override async idle(): Promise<void> {
    while (this.#flushing !== undefined) await this.#flushing;
  }

  protected override waitingIn(partition: number): number {
    return this.#waiting[partition] ?? 0;
  }

  /** Without a bound nothing asks for a batch to be whole. */
  #mustSplit({ records, characters }: Unit): boolean {
    return !this.#isBounded && (records.length >= limits.appendRecords || characters >= limits.appendCharacters);
  }

  async #run(): Promise<void> {
    while (this.#units.length > 0) {
      const units = this.#take();
      const outcome = await this.#append(units).then(
        (answers) => ({ answers }),
        (error: unknown) => ({ error }),
      );
      let first = 0;
      for (const unit of units) {
        this.#context.onSettled(unit.records.length, unit.characters);
        this.#settle(unit, first, outcome);
        first += unit.records.length;
      }
    }
    // In the same turn as the look that found nothing: the next record begins anew.
    this.#flushing = undefined;
  }

  #take(): readonly Unit[] {
    let records = 0;
    let characters = 0;
    let count = 0;
    for (const unit of this.#units) {
      records += unit.records.length;
      characters += unit.characters;
      if (count > 0 && (records > limits.appendRecords || characters > limits.appendCharacters)) break;
      count += 1;
    }
    const units = this.#units.splice(0, count);
    for (const partition of units.flatMap((unit) => unit.partitions)) {
      this.#waiting[partition] = this.waitingIn(partition) - 1;
    }
    return units;
  }

  /** Tries until it is known what became of the units, or the time is up. A repeat is known by its sequence. */
  async #append(units: readonly Unit[]): Promise<readonly GuardedAnswer[]> {
    const { log, doorbell, clock, logger, producer, deliveryTimeoutMs, attemptTimeoutMs } = this.#context;
    const deadline = clock.now() + deliveryTimeoutMs;
    const records = units.flatMap((unit, number) => toRecords(unit, number));
    const sequence = this.#context.reserveSequence(records.length);
    const partitions = [...new Set(records.map(({ partition }) => partition))].sort((a, b) => a - b);
    const acks = units.some((unit) => unit.records.some((record) => record.acks === "all")) ? "all" : 1;
    const ring = doorbell.tryRide(this.entry.number, partitions);
    let isUnknown = false;
    for (let waitMs = firstRetryMs; ; waitMs = Math.min(waitMs * 2, longestRetryMs)) {
      try {
        const answers = await log.appendGuarded({
          topic: this.entry,
          records,
          producer,
          sequence,
          acks,
          ring,
          isRepeat: isUnknown,
          deadlineMs: attemptTimeoutMs,
        });
        if (ring === null && answers.some(({ status }) => status === "appended")) {
          doorbell.ringLog(this.entry.number, partitions);
        }
        return answers;
      } catch (error) {
        isUnknown ||= mayHaveTakenEffect(error);
        if (!isWorthRepeating(error) || clock.now() + waitMs > deadline) {
          throw verdict(error, isUnknown, this.entry.name);
        }
        logger.log("warn", "an append failed and is tried again; it will not be doubled", {
          topic: this.entry.name,
          records: records.length,
          error: toError(error),
        });
        await new Promise<void>((resolve) => setTimeout(resolve, waitMs));
      }
    }
  }

  /** Tells those who wait for a unit, whose answers begin at `first`. */
  #settle({ records, completion }: Unit, first: number, outcome: FlushOutcome): void {
    const { logger } = this.#context;
    let refusal: SluiceError | undefined;
    for (const [index, record] of records.entries()) {
      const answer = "error" in outcome ? undefined : (outcome.answers[first + index] as GuardedAnswer);
      if (answer === undefined) {
        completion.failed(record.index, "error" in outcome ? outcome.error : undefined);
      } else if (answer.status === "full") {
        refusal ??= this.#full(records.length, answer.room);
        completion.failed(record.index, refusal);
      } else {
        const { status, partition, offset, id } = answer;
        const result: SendResult = { status, topic: this.entry.name, partition, offset, id };
        completion.answered(record.index, result);
        if (logger.isEnabled("debug")) logger.log("debug", `sent: ${status}`, { ...result, key: record.key });
      }
    }
  }

  #full(count: number, room: number): SluiceError {
    const { name, guards } = this.entry;
    if (count > room && guards.overflow === "drop-oldest") {
      return new SluiceError(
        "QUEUE_FULL",
        `topic ${name} may hold ${room} messages, fewer than the ${count} of this batch; nothing was sent or dropped. Send them in smaller batches.`,
      );
    }
    return new SluiceError(
      "QUEUE_FULL",
      `topic ${name} may hold ${guards.maxDepth ?? 0} messages and has room for ${room}, not for ${count}; nothing was sent. Its consumers are slower than its senders; try again later.`,
    );
  }
}

function toRecords({ partitions, records }: Unit, unit: number): GuardedRecord[] {
  return records.map(({ messageId, key, value, attributes }, index) => ({
    partition: partitions[index] as number,
    unit,
    messageId,
    key,
    value,
    attributes,
  }));
}
