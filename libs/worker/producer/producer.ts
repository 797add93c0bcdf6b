import { type Doorbell, keepInOutbox, messagesJson, requireGroup, type WaitingMessage } from "@sluice/broker";
import type { Acks, AnyTopic, RecordOptions, SendResult, Topic } from "@sluice/contract";
import { type Clock, type Deferred, deferred, type Logger, SluiceError, toError } from "@sluice/kernel";
import { type Log, nextProducerNumber, openTopic } from "@sluice/log";
import type { Pool, UserTransaction } from "@sluice/store";
import { BatchCompletion, CallbackCompletion, SingleCompletion } from "./completions.ts";
import { type DelayOptions, dueOf, keepDelayed } from "./delayed.ts";
import { type EncodedRecord, encodeRecord, withMessageId } from "./encode.ts";
import { GuardedProducer, isGuarded } from "./guarded-producer.ts";
import { type FlushContext, TopicProducer } from "./topic-producer.ts";

/** Bounds of a producer. */
export interface ProducerOptions {
  /** Records that may wait in memory; default 100,000. A send beyond waits for room. */
  readonly maxBufferedRecords: number;
  /** Characters of values that may wait in memory; default 64 Mi. */
  readonly maxBufferedCharacters: number;
  /** How long a send waits for room before it fails with BUFFER_FULL, in milliseconds; default 60,000. */
  readonly maxBlockMs: number;
  /** For how long an append is tried again, in milliseconds; default 120,000. */
  readonly deliveryTimeoutMs: number;
  /** Whether topics that are not in the database are made. Default true. */
  readonly createTopics: boolean;
}

/** What one send may say. */
export interface SendOptions extends RecordOptions, DelayOptions {
  /** Default `"all"`. Has no meaning together with `tx`, `delay` or `deliverAt`. */
  readonly acks?: Acks;
  /** Send within this transaction of yours: the message enters the log if and only if it commits. */
  readonly tx?: UserTransaction;
  /**
   * Fail with NO_GROUP, and write nothing, when no group consumes the topic. Default false: messages wait for whoever comes.
   * The database is asked each time, before it is sent: one more round trip, so a send that is not awaited may be overtaken.
   */
  readonly requireGroup?: boolean;
}

/** A producer's surroundings. */
export interface ProducerContext {
  readonly pool: Pool;
  readonly log: Log;
  readonly doorbell: Doorbell;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** Ring the relay at most this often from one process: it looks by itself for a while after each ring. */
const outboxRingMs = 50;

/**
 * Sends to any number of topics. Idempotent: an append whose answer was lost is repeated under the same sequence and never
 * doubled. Safe to share: make one per process.
 */
export class Producer {
  readonly #context: ProducerContext;
  readonly #options: ProducerOptions;
  readonly #flushContext: FlushContext;
  readonly #number: number;
  readonly #topics = new Map<AnyTopic, TopicProducer>();
  readonly #opening = new Map<AnyTopic, Promise<TopicProducer>>();
  readonly #room: Deferred<void>[] = [];
  #sequence = 0;
  #bufferedRecords = 0;
  #bufferedCharacters = 0;
  #outboxRungAt = Number.NEGATIVE_INFINITY;
  #delayRungAt = Number.NEGATIVE_INFINITY;
  #closed = false;

  private constructor(context: ProducerContext, options: ProducerOptions, number: number) {
    this.#context = context;
    this.#options = options;
    this.#number = number;
    this.#flushContext = {
      ...context,
      producer: number,
      reserveSequence: (count) => {
        const first = this.#sequence;
        this.#sequence += count;
        return first;
      },
      onSettled: (records, characters) => this.#release(records, characters),
      deliveryTimeoutMs: options.deliveryTimeoutMs,
      attemptTimeoutMs: Math.min(30_000, options.deliveryTimeoutMs),
    };
  }

  static async open(context: ProducerContext, options: ProducerOptions): Promise<Producer> {
    return new Producer(context, options, await nextProducerNumber(context.pool));
  }

  /** Looks the topic up, or makes it; sending does so by itself. Fails as {@link openTopic}. */
  async openTopic(topic: AnyTopic): Promise<TopicProducer> {
    const known = this.#topics.get(topic);
    if (known !== undefined) return known;
    let opening = this.#opening.get(topic);
    if (opening === undefined) {
      opening = openTopic(this.#context.pool, topic, { create: this.#options.createTopics })
        .then((entry) => {
          const kind = isGuarded(entry) ? GuardedProducer : TopicProducer;
          const opened = new kind(topic, entry, this.#flushContext);
          this.#topics.set(topic, opened);
          return opened;
        })
        .finally(() => this.#opening.delete(topic));
      this.#opening.set(topic, opening);
    }
    return await opening;
  }

  /** Sends one message; see the public face. */
  send<Value>(topic: Topic<Value>, value: Value, options: SendOptions = {}): Promise<SendResult> {
    if (options.delay !== undefined || options.deliverAt !== undefined) {
      return this.#sendLater(topic, [value], options).then(first);
    }
    if (options.tx !== undefined) return this.#sendInTransaction(topic, [value], options.tx, options).then(first);
    const producer = this.#topics.get(topic);
    if (producer === undefined || this.#isFull || this.#closed || options.requireGroup === true) {
      return this.#sendSlowly(topic, value, options);
    }
    try {
      return this.#sendNow(producer, topic, value, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Sends many messages of one topic; see the public face. */
  async sendBatch<Value>(
    topic: Topic<Value>,
    values: readonly Value[],
    options: SendOptions = {},
  ): Promise<SendResult[]> {
    if (values.length === 0) return [];
    if (options.delay !== undefined || options.deliverAt !== undefined) {
      return await this.#sendLater(topic, values, options);
    }
    if (values.length > 1 && options.messageId !== undefined) throw oneMessageId(topic.name);
    if (options.tx !== undefined) return await this.#sendInTransaction(topic, values, options.tx, options);
    this.#checkOpen();
    const producer = this.#topics.get(topic) ?? (await this.openTopic(topic));
    await this.#checkGroup(producer, options);
    // All are checked before one is taken: a batch with a bad value sends nothing.
    const records = values.map((value) => encodeRecord(topic, value, options));
    producer.checkBatch(records);
    const partitions = producer.pickPartitions(records, options.partition);
    if (this.#isFull) await this.#waitForRoom();
    const completion = new BatchCompletion(topic.name, this.#number, values.length);
    const acks = options.acks ?? "all";
    for (let index = 0; index < records.length; index += 1) {
      const { key, value, attributes, messageId } = records[index] as (typeof records)[number];
      this.#take(value.length);
      producer.add(partitions[index] as number, {
        key,
        value,
        attributes,
        messageId,
        acks: acks === 0 ? 1 : acks,
        completion,
        index,
      });
    }
    producer.added();
    if (acks !== 0) return await completion.promise;
    this.#watchUnawaited(completion.promise, topic.name);
    return partitions.map((partition) => buffered(topic.name, partition));
  }

  /** Sends without a promise; see the public face. */
  post<Value>(
    topic: Topic<Value>,
    value: Value,
    options: Omit<SendOptions, "tx" | "requireGroup" | keyof DelayOptions>,
    onOutcome: ((error: unknown, result: SendResult | undefined) => void) | undefined,
  ): void {
    this.#checkOpen();
    if (dueOf(topic.name, options as DelayOptions) !== undefined) {
      throw new SluiceError(
        "INVALID_OPTIONS",
        "post sends at once; use send for delay and deliverAt. Nothing was sent.",
      );
    }
    if (this.#isFull) throw bufferFull(topic.name, "waits for no room");
    const record = encodeRecord(topic, value, options);
    const outcome = onOutcome ?? ((error: unknown) => this.#reportUnawaited(error, topic.name));
    const completion = new CallbackCompletion(topic.name, this.#number, outcome);
    const acks = options.acks === 1 || options.acks === 0 ? 1 : "all";
    const add = (producer: TopicProducer) => {
      const partition = producer.pickPartition(record, options.partition);
      this.#take(record.value.length);
      producer.add(partition, { ...record, acks, completion, index: 0 });
      producer.added();
    };
    const producer = this.#topics.get(topic);
    if (producer !== undefined) add(producer);
    else
      this.openTopic(topic)
        .then(add)
        .catch((error: unknown) => completion.failed(0, error));
  }

  /** Resolves when everything sent so far is settled. */
  async flush(): Promise<void> {
    while (this.#opening.size > 0) await Promise.allSettled(this.#opening.values());
    await Promise.all([...this.#topics.values()].map((producer) => producer.idle()));
  }

  /** Refuses further sends, and settles those that were taken. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const waiter of this.#room.splice(0)) waiter.resolve();
    await this.flush();
  }

  get #isFull(): boolean {
    return (
      this.#bufferedRecords >= this.#options.maxBufferedRecords ||
      this.#bufferedCharacters >= this.#options.maxBufferedCharacters
    );
  }

  #sendNow<Value>(
    producer: TopicProducer,
    topic: Topic<Value>,
    value: Value,
    options: SendOptions,
  ): Promise<SendResult> {
    const record = encodeRecord(topic, value, options);
    const partition = producer.pickPartition(record, options.partition);
    const completion = new SingleCompletion(topic.name, this.#number);
    const acks = options.acks ?? "all";
    this.#take(record.value.length);
    producer.add(partition, {
      key: record.key,
      value: record.value,
      attributes: record.attributes,
      messageId: record.messageId,
      acks: acks === 0 ? 1 : acks,
      completion,
      index: 0,
    });
    producer.added();
    if (acks !== 0) return completion.promise;
    this.#watchUnawaited(completion.promise, topic.name);
    return Promise.resolve(buffered(topic.name, partition));
  }

  async #sendSlowly<Value>(topic: Topic<Value>, value: Value, options: SendOptions): Promise<SendResult> {
    this.#checkOpen();
    const producer = await this.openTopic(topic);
    await this.#checkGroup(producer, options);
    await this.#waitForRoom();
    return await this.#sendNow(producer, topic, value, options);
  }

  async #sendInTransaction<Value>(
    topic: Topic<Value>,
    values: readonly Value[],
    transaction: UserTransaction,
    options: SendOptions,
  ): Promise<SendResult[]> {
    this.#checkOpen();
    const producer = this.#topics.get(topic) ?? (await this.openTopic(topic));
    if (options.requireGroup === true) await this.#checkGroup(producer, options);
    const records = values.map((value) => encodeRecord(topic, value, options));
    const partitions = producer.pickPartitions(records, options.partition);
    const now = performance.now();
    const ring = now - this.#outboxRungAt >= outboxRingMs;
    const entry = { topic: producer.entry.number, messages: waitingMessages(records, partitions), ring };
    const numbers = await keepInOutbox(transaction, `sending to topic ${topic.name}`, entry);
    if (ring) this.#outboxRungAt = now;
    const { logger } = this.#context;
    const isLogged = logger.isEnabled("debug");
    return numbers.map((number, index) => {
      const result: SendResult = {
        status: "queued",
        topic: topic.name,
        partition: partitions[index] as number,
        offset: null,
        id: `o-${number}`,
      };
      if (isLogged) logger.log("debug", "queued in a transaction", { ...result, key: records[index]?.key });
      return result;
    });
  }

  /** As rows that are moved into the log when they are due; in the user's transaction if there is one. */
  async #sendLater<Value>(topic: Topic<Value>, values: readonly Value[], options: SendOptions): Promise<SendResult[]> {
    this.#checkOpen();
    const due = dueOf(topic.name, options);
    if (due === undefined) throw new SluiceError("INTERNAL", "a message without a due time was to be delayed");
    const producer = await this.openTopic(topic);
    const records = values.map((value) => encodeRecord(topic, value, options));
    const partitions = producer.pickPartitions(records, options.partition);
    const now = performance.now();
    const ring = now - this.#delayRungAt >= outboxRingMs;
    if (ring) this.#delayRungAt = now;
    const messages = messagesJson(waitingMessages(records, partitions));
    const delayed = { topic: producer.entry.number, messages, ...due, ring };
    const numbers = await keepDelayed(this.#context.pool, options.tx, topic.name, delayed);
    return numbers.map((number, index) => {
      const partition = partitions[index] as number;
      const result: SendResult = {
        status: "delayed",
        topic: topic.name,
        partition,
        offset: null,
        id: `d-${number}`,
      };
      this.#context.logger.log("debug", "kept until it is due", { ...result, key: records[index]?.key });
      return result;
    });
  }

  #take(characters: number): void {
    this.#bufferedRecords += 1;
    this.#bufferedCharacters += characters;
  }

  #release(records: number, characters: number): void {
    this.#bufferedRecords -= records;
    this.#bufferedCharacters -= characters;
    while (this.#room.length > 0 && !this.#isFull) this.#room.shift()?.resolve();
  }

  async #waitForRoom(): Promise<void> {
    while (this.#isFull && !this.#closed) {
      const waiter = deferred<void>();
      this.#room.push(waiter);
      const cancel = this.#context.clock.after(this.#options.maxBlockMs, () => {
        const index = this.#room.indexOf(waiter);
        if (index >= 0) this.#room.splice(index, 1);
        waiter.reject(bufferFull("", `waited ${this.#options.maxBlockMs} ms for room`));
      });
      try {
        await waiter.promise;
      } finally {
        cancel();
      }
    }
    this.#checkOpen();
  }

  async #checkGroup(producer: TopicProducer, options: SendOptions): Promise<void> {
    if (options.requireGroup === true) await requireGroup(this.#context.pool, producer.entry);
  }

  #checkOpen(): void {
    if (this.#closed) throw new SluiceError("CLOSED", "the producer is closed; nothing was sent");
  }

  #watchUnawaited(promise: Promise<unknown>, topic: string): void {
    promise.catch((error: unknown) => this.#reportUnawaited(error, topic));
  }

  #reportUnawaited(error: unknown, topic: string): void {
    if (error === undefined) return;
    this.#context.logger.log("warn", "a record that nobody waits for was not appended", {
      topic,
      error: toError(error),
    });
  }
}

function first(results: readonly SendResult[]): SendResult {
  return results[0] as SendResult;
}

/** As they wait beside the log, where a message's id is one of its attributes. */
function waitingMessages(records: readonly EncodedRecord[], partitions: readonly number[]): readonly WaitingMessage[] {
  return records.map((record, index) => ({
    partition: partitions[index] as number,
    key: record.key,
    value: record.value,
    attributes: withMessageId(record),
  }));
}

function buffered(topic: string, partition: number): SendResult {
  return { status: "buffered", topic, partition, offset: null, id: "" };
}

function oneMessageId(topic: string): SluiceError {
  return new SluiceError(
    "INVALID_OPTIONS",
    `a messageId is for one message, and this batch to topic ${topic} has several; nothing was sent. Declare the topic with deduplicate.by.`,
  );
}

function bufferFull(topic: string, how: string): SluiceError {
  return new SluiceError(
    "BUFFER_FULL",
    `the producer's buffer is full and this send ${how}; nothing was sent${topic === "" ? "" : ` to topic ${topic}`}. The database is slower than the senders.`,
  );
}
