import type { DatabaseClock, Groups } from "@sluice/broker";
import { type AnyConsumer, compose, type Handler } from "@sluice/contract";
import { type Deferred, deferred, Signal, SluiceError } from "@sluice/kernel";
import type { Log, ReadBatch, ReadResult, TopicEntry } from "@sluice/log";
import { type SQL, sql } from "drizzle-orm";
import { keyAt } from "../batch-record.ts";
import { deadLetterOf } from "./dead-letter.ts";
import { type DeliveryOwner, deliver, type Outcome } from "./delivery.ts";
import { Expiry } from "./expiry.ts";
import { type Failure, failureText, type Measure, measureOf } from "./failure.ts";
import { insist } from "./insist.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import type { DeliveryServices } from "./message.ts";
import { pause } from "./pause.ts";
import type { RateLimiter } from "./rate-limiter.ts";
import { SharedGate } from "./shared-gate.ts";
import { turns } from "./turns.ts";

/** What a broadcast consumer works with. */
export interface BroadcastConsumerContext extends DeliveryServices {
  readonly log: Log;
  readonly groups: Groups;
  readonly databaseClock: DatabaseClock;
}

/** Which partition of which consumer it reads. */
export interface BroadcastConsumerHome {
  readonly consumer: AnyConsumer;
  readonly entry: TopicEntry;
  readonly group: number;
  readonly partition: number;
  /** Where to begin. */
  readonly from: number;
  /** Whether it begins with a pause. */
  readonly paused: boolean;
  /** This member's own, for all partitions. Absent: as fast as it goes. */
  readonly rateLimiter: RateLimiter | undefined;
}

interface Task {
  readonly owner: BroadcastConsumer;
  readonly key: string | null;
  readonly batch: ReadBatch;
  readonly index: number;
  attempt: number;
  hasTurn: boolean;
}

/**
 * One partition, read by a member that gets all of it and keeps its place in memory: nothing is written but dead letters. It
 * outlives the worker's session, because it owns nothing.
 */
export class BroadcastConsumer implements DeliveryOwner {
  readonly consumer: AnyConsumer;
  readonly handler: Handler<unknown>;
  readonly entry: TopicEntry;
  readonly partition: number;
  /** It has none. */
  readonly position = 0;
  readonly epoch = 0;
  readonly #context: BroadcastConsumerContext;
  /** The group's number. */
  readonly group: number;
  readonly #queue: KeyedQueue<Task>;
  readonly #gate: SharedGate<Task>;
  readonly expiry: Expiry;
  readonly #abort = new AbortController();
  readonly #wake = new Signal();
  readonly #run: Promise<void>;
  #next: number;
  #isPaused = false;
  #running = 0;
  #inHand = 0;
  #idle: Deferred<void> | undefined;
  #stopped = false;

  constructor(context: BroadcastConsumerContext, home: BroadcastConsumerHome) {
    this.#context = context;
    this.consumer = home.consumer;
    this.handler = compose<unknown>(home.consumer.use, home.consumer.handler);
    this.entry = home.entry;
    this.partition = home.partition;
    this.group = home.group;
    this.#next = home.from;
    this.#queue = new KeyedQueue<Task>(home.consumer.concurrency, (task) => this.#begin(task));
    const { rateLimiter } = home;
    this.#gate = new SharedGate<Task>({
      rateLimiter,
      putOff: (task) => this.#queue.putOff(task),
      resume: (task) => this.#queue.resume(task),
      begin: (task) => this.#begin(task),
    });
    this.expiry = new Expiry({ ...context, ...home, letters: context.groups, signal: this.#abort.signal });
    this.heed(home.paused);
    this.#run = this.#live();
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get services(): DeliveryServices {
    return this.#context;
  }

  /** There may be something to read. */
  wake(): void {
    this.#wake.raise();
  }

  /** Whether its group is paused at present: then it reads on as far as its `prefetch`, and hands over nothing. */
  heed(paused: boolean): void {
    if (paused === this.#isPaused) return;
    this.#isPaused = paused;
    const what = paused ? "a partition is paused: it hands over nothing until it is resumed" : "a partition is resumed";
    this.#context.logger.log("info", what, this.#names());
    this.#gate.heed(new Set(paused ? [this.partition] : []));
  }

  /** Begins nothing more and waits for handlers under way, at most `deadlineMs`. Resolves with whether all were done in time. */
  async stop(deadlineMs: number): Promise<boolean> {
    this.#halt();
    if (this.#running > 0) {
      const idle = deferred<void>();
      this.#idle = idle;
      const cancel = this.#context.clock.after(deadlineMs, () => idle.resolve());
      await idle.promise;
      cancel();
    }
    const inTime = this.#running === 0;
    this.#abort.abort(new SluiceError(inTime ? "CLOSED" : "DRAIN_TIMEOUT", "the consumer is stopped"));
    await this.#run;
    return inTime;
  }

  /** There is no position to write. */
  commitNow(): Promise<void> {
    return Promise.resolve();
  }

  transactionCommitted(): void {
    // There is no position that could follow.
  }

  /** What the handler wrote commits; there is no position to go with it. */
  mark(): SQL {
    return sql`'done'`;
  }

  #halt(): void {
    this.#stopped = true;
    this.#queue.stop();
    this.#gate.stop();
    this.#wake.raise();
  }

  async #live(): Promise<void> {
    let hasReadAll = false;
    while (!this.#stopped) {
      const from = this.entry.guards.drops ? await this.#passOver(this.#next) : this.#next;
      const result = await this.#read(from, hasReadAll && from === this.#next);
      if (result === "stopped") return;
      const first = result.begin ?? result.batches[0]?.baseOffset ?? result.next;
      if (first > from)
        this.#context.logger.log("warn", "records were dropped by retention before this member had seen them", {
          ...this.#names(),
          from,
          to: first,
        });
      await this.#handOver(result.batches, from);
      this.#next = result.next;
      hasReadAll = !result.more;
      if (hasReadAll && !this.#stopped) await this.#wake.wait(60_000);
    }
  }

  /** Where to read on: in a topic that drops messages, past those. */
  async #passOver(from: number): Promise<number> {
    const { log, logger } = this.#context;
    const place = { topic: this.entry.number, partition: this.partition };
    const to = await this.#insist("looking for what was dropped", () => log.droppedBelow(place));
    if (to === "stopped" || to <= from) return from;
    logger.log("warn", "messages were dropped before this member had seen them: the topic was full", {
      ...this.#names(),
      messages: to - from,
      to,
    });
    return to;
  }

  async #handOver(batches: readonly ReadBatch[], from: number): Promise<void> {
    await turns.begin();
    for (const batch of batches) {
      const matches = batch.matches === undefined ? undefined : new Set(batch.matches);
      for (let index = Math.max(0, from - batch.baseOffset); index < batch.count; index += 1) {
        // The filter keeps it back.
        if (matches !== undefined && !matches.has(index)) continue;
        while (this.#inHand >= this.consumer.prefetch && !this.#stopped) await this.#wake.wait(60_000);
        if (this.#stopped) return;
        this.#inHand += 1;
        // With one at a time a failing message blocks its partition, with more its key.
        const key = this.consumer.concurrency === 1 ? "" : keyAt(batch, index);
        this.#queue.add({ owner: this, key, batch, index, attempt: 1, hasTurn: false });
        if (turns.isOver) await turns.next();
      }
    }
  }

  #read(from: number, isNext: boolean): Promise<ReadResult | "stopped"> {
    const { filter } = this.consumer;
    const place = { topic: this.entry, partition: this.partition, from, isNext };
    return this.#insist("reading", () => this.#context.log.read(filter === undefined ? place : { ...place, filter }));
  }

  #begin(task: Task): void {
    if (this.#gate.holds(task)) return;
    this.#running += 1;
    const outcome = deliver(this, task.batch, task.index, task.attempt);
    if (outcome instanceof Promise) outcome.then((settled) => this.#settle(task, settled));
    // Never synchronously: a queue of handlers that do not wait would otherwise be a recursion.
    else queueMicrotask(() => this.#settle(task, outcome));
  }

  #settle(task: Task, outcome: Outcome): void {
    if (outcome.kind === "done" || outcome.kind === "fenced") this.#finish(task);
    else void this.#settleFailure(task, outcome);
  }

  async #settleFailure(task: Task, failure: Failure): Promise<void> {
    if (this.signal.aborted) {
      this.#leave();
      return;
    }
    const { consumer, partition } = this;
    const { batch, index, attempt } = task;
    const { logger, clock } = this.#context;
    const offset = batch.baseOffset + index;
    const measure = measureOf(failure, { consumer, partition, offset, attempt, logger });
    if (measure.kind === "again") {
      if (measure.counts) task.attempt += 1;
      task.hasTurn = false;
      this.#leave();
      this.#queue.putOff(task);
      await pause(clock, measure.delayMs, this.signal);
      this.#queue.resume(task);
      return;
    }
    if (measure.kind === "pause") this.#halt();
    else {
      if (measure.kind === "bury") await this.#bury(task, measure.reason, failure);
      await this.#context.answers.refuse(consumer, batch, index, measure.reason, this.signal);
    }
    this.#finish(task);
  }

  /** One letter for the group, however many of its members give up. */
  async #bury(
    { batch, index, attempt }: Task,
    reason: Extract<Measure, { kind: "bury" }>["reason"],
    failure: Failure,
  ): Promise<void> {
    const { entry, partition } = this;
    const origin = { group: this.group, topic: entry.number, partition };
    const letter = deadLetterOf(batch, index, { ...origin, reason, error: failureText(failure), attempts: attempt });
    await this.#insist("keeping a dead letter", () => this.#context.groups.bury(letter));
  }

  #finish(task: Task): void {
    this.#inHand -= 1;
    this.#leave();
    this.#queue.finished(task);
    if (this.#inHand === this.consumer.prefetch >> 1 || this.#inHand === 0) this.#wake.raise();
  }

  #leave(): void {
    this.#running -= 1;
    if (this.#running === 0) this.#idle?.resolve();
  }

  #insist<Result>(what: string, call: () => Promise<Result>): Promise<Result | "stopped"> {
    const { clock, logger } = this.#context;
    return insist(what, { clock, logger, signal: this.signal }, call, this.#names());
  }

  #names(): { topic: string; group: string; partition: number } {
    return { topic: this.entry.name, group: this.consumer.group, partition: this.partition };
  }
}
