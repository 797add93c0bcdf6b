import { type Doorbell, keepInOutbox, messagesJson, requireGroup, type WaitingMessage } from "@sluice/broker";
import type { Acks, AnyTopic, RecordOptions, SendResult, Topic } from "@sluice/contract";
import { type Clock, type Logger, problemsError, SluiceError, toError } from "@sluice/kernel";
import { type Log, nextProducerNumber, openTopic } from "@sluice/log";
import type { Pool, UserTransaction } from "@sluice/store";
import { BatchCompletion, CallbackCompletion, SingleCompletion } from "./completions.ts";
import { type DelayOptions, dueOf, keepDelayed } from "./delayed.ts";
import { type EncodedRecord, encodeRecord, withMessageId } from "./encode.ts";
import { Entrance } from "./entrance.ts";
import { GuardedProducer, isGuarded } from "./guarded-producer.ts";
import { bufferFull, producerClosed, Room } from "./room.ts";
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
   * The database is asked each time, before it is sent: one more round trip, and what this producer sends to the topic meanwhile waits behind it (but within `tx`).
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
  readonly #entrance = new Entrance();
  readonly #room: Room;
  #sequence = 0;
  #outboxRungAt = Number.NEGATIVE_INFINITY;
  #delayRungAt = Number.NEGATIVE_INFINITY;
  #closed = false;

  private constructor(context: ProducerContext, options: ProducerOptions, number: number) {
    this.#context = context;
    this.#options = options;
    this.#number = number;
    this.#room = new Room(context.clock, options);
    this.#flushContext = {
      ...context,
      producer: number,
      reserveSequence: (count) => {
        const first = this.#sequence;
        this.#sequence += count;
        return first;
      },
      onSettled: (records, characters) => this.#room.release(records, characters),
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
    try {
      checkAcks(options.acks);
      if (options.delay !== undefined || options.deliverAt !== undefined) {
        return this.#sendLater(topic, [value], options).then(first);
      }
      if (options.tx !== undefined) return this.#sendInTransaction(topic, [value], options.tx, options).then(first);
      this.#checkOpen();
      const producer = this.#opened(topic, options);
      if (producer !== undefined && !this.#room.isFull) return this.#sendNow(producer, topic, value, options);
      return this.#enter(topic, options, (opened) =>
        this.#room.enter(() => this.#sendNow(opened, topic, value, options)),
      );
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Sends many messages of one topic; see the public face. */
  sendBatch<Value>(topic: Topic<Value>, values: readonly Value[], options: SendOptions = {}): Promise<SendResult[]> {
    try {
      checkAcks(options.acks);
      if (values.length === 0) return Promise.resolve([]);
      if (options.delay !== undefined || options.deliverAt !== undefined) {
        return this.#sendLater(topic, values, options);
      }
      if (values.length > 1 && options.messageId !== undefined) throw oneMessageId(topic.name);
      if (options.tx !== undefined) return this.#sendInTransaction(topic, values, options.tx, options);
      this.#checkOpen();
      const producer = this.#opened(topic, options);
      if (producer !== undefined && !this.#room.isFull) {
        return this.#sendBatchNow(producer, topic, values, options);
      }
      return this.#enter(topic, options, (opened) => this.#sendBatchNow(opened, topic, values, options));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Sends without a promise; see the public face. */
  post<Value>(
    topic: Topic<Value>,
    value: Value,
    options: Omit<SendOptions, "tx" | "requireGroup" | keyof DelayOptions>,
    onOutcome: ((error: unknown, result: SendResult | undefined) => void) | undefined,
  ): void {
    this.#checkOpen();
    checkAcks(options.acks);
    if (dueOf(topic.name, options as DelayOptions) !== undefined) {
      throw new SluiceError(
        "INVALID_OPTIONS",
        "post sends at once; use send for delay and deliverAt. Nothing was sent.",
      );
    }
    if (this.#room.isFull) throw bufferFull(topic.name, "waits for no room");
    const record = encodeRecord(topic, value, options);
    const outcome = onOutcome ?? ((error: unknown) => this.#reportUnawaited(error, topic.name));
    const completion = new CallbackCompletion(topic.name, this.#number, outcome);
    const acks = options.acks === 1 || options.acks === 0 ? 1 : "all";
    const add = (producer: TopicProducer) => {
      // There was room when it was called, but others were before it in the line.
      if (this.#room.isFull) throw bufferFull(topic.name, "waits for no room");
      const partition = producer.pickPartition(record, options.partition);
      this.#room.take(record.value.length);
      producer.add(partition, { ...record, acks, completion, index: 0 });
      producer.added();
    };
    const producer = this.#opened(topic, {});
    if (producer !== undefined) add(producer);
    else this.#enter(topic, {}, add).catch((error: unknown) => completion.failed(0, error));
  }

  /** Resolves when everything sent so far is settled. */
  async flush(): Promise<void> {
    await this.#entrance.idle();
    await Promise.all([...this.#topics.values()].map((producer) => producer.idle()));
  }

  /** Refuses further sends, and settles those that were taken. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#room.close();
    await this.flush();
  }

  /** The topic's producer, if a call may go to it at once. */
  #opened(topic: AnyTopic, { requireGroup }: SendOptions): TopicProducer | undefined {
    return requireGroup === true || this.#entrance.hasLine(topic) ? undefined : this.#topics.get(topic);
  }

  #enter<Result>(
    topic: AnyTopic,
    options: SendOptions,
    enter: (producer: TopicProducer) => Result | Promise<Result>,
  ): Promise<Result> {
    const ready = this.openTopic(topic).then(async (producer) => {
      await this.#checkGroup(producer, options);
      return producer;
    });
    return this.#entrance.pass(topic, ready, enter);
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
    this.#room.take(record.value.length);
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

  #sendBatchNow<Value>(
    producer: TopicProducer,
    topic: Topic<Value>,
    values: readonly Value[],
    options: SendOptions,
  ): Promise<SendResult[]> {
    // All are checked before one is taken: a batch with a bad value sends nothing.
    const records = values.map((value) => encodeRecord(topic, value, options));
    producer.checkBatch(records);
    const partitions = producer.pickPartitions(records, options.partition);
    const acks = options.acks ?? "all";
    return this.#room.enter(() => {
      const completion = new BatchCompletion(topic.name, this.#number, values.length);
      for (let index = 0; index < records.length; index += 1) {
        const { key, value, attributes, messageId } = records[index] as (typeof records)[number];
        this.#room.take(value.length);
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
      if (acks !== 0) return completion.promise;
      this.#watchUnawaited(completion.promise, topic.name);
      return Promise.resolve(partitions.map((partition) => buffered(topic.name, partition)));
    });
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

  async #checkGroup(producer: TopicProducer, options: SendOptions): Promise<void> {
    if (options.requireGroup === true) await requireGroup(this.#context.pool, producer.entry);
  }

  #checkOpen(): void {
    if (this.#closed) throw producerClosed();
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

/** What weakens durability is not to be the spelling of an option. */
function checkAcks(acks: unknown): void {
  if (acks === undefined || acks === "all" || acks === 0 || acks === 1) return;
  throw problemsError("INVALID_OPTIONS", "a message cannot be sent; nothing was sent", [
    { path: "acks", message: 'must be "all", 1 or 0' },
  ]);
}
