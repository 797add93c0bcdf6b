import { setImmediate } from "node:timers";
import type { Groups, PositionCommit, TakenPosition } from "@sluice/broker";
import type { AnyConsumer } from "@sluice/contract";
import { type Clock, type Deferred, deferred, type Logger, Signal, SluiceError, toError } from "@sluice/kernel";
import type { Log, ReadBatch, ReadResult, TopicEntry } from "@sluice/log";
import { keyAt } from "../batch-record.ts";
import { type DeliveryOwner, deliver, type Outcome } from "./delivery.ts";
import { FailurePolicy, pause } from "./failure-policy.ts";
import type { HandlerTransactions } from "./handler-transaction.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import { Progress } from "./progress.ts";

/** What a partition's consumer works with. */
export interface PartitionConsumerContext {
  readonly log: Log;
  readonly groups: Groups;
  readonly transactions: HandlerTransactions;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Writes the positions of these now; rejects with FENCED for one that has another owner. */
  readonly commitNow: (consumer: PartitionConsumer) => Promise<void>;
  /** Called once when it finds that the partition has another owner. */
  readonly onFenced: (consumer: PartitionConsumer) => void;
}

/** A record on its way through the handler. */
interface Task {
  readonly key: string | null;
  readonly batch: ReadBatch;
  readonly index: number;
  readonly characters: number;
  attempt: number;
}

/** Characters of values that may wait in memory per partition, beside the consumer's `prefetch`. */
const prefetchCharacters = 8 * 1_048_576;
/** Turns of the event loop in which only handlers run are kept shorter than this, so that the connection is served. */
const turnMs = 5;
const readRetryMs = 500;

/**
 * One partition, consumed by its owner under one epoch: reads ahead, hands records over, tries again, and keeps count
 * of what is done. It ends when stopped or fenced, and is never started again: a new term makes a new one.
 */
export class PartitionConsumer implements DeliveryOwner {
  readonly consumer: AnyConsumer;
  readonly entry: TopicEntry;
  readonly group: number;
  readonly partition: number;
  readonly position: number;
  readonly epoch: number;
  readonly #context: PartitionConsumerContext;
  readonly #progress: Progress;
  readonly #abort = new AbortController();
  readonly #wake = new Signal();
  readonly #queue: KeyedQueue<Task>;
  readonly #failures: FailurePolicy;
  readonly #finished: Promise<void>;
  /** Tasks that were begun and are neither over nor put off. */
  #running = 0;
  #idle: Deferred<void> | undefined;
  #buffered = 0;
  #bufferedCharacters = 0;
  #fetchOffset: number;
  /** Whether the last read found no more after it. */
  #hasReadAll = false;
  #explicitNext: number;
  #committedNext: number;
  #committedRanges = "";
  #stopped = false;
  #waitsForRoom = false;
  #turnBeganAt = performance.now();

  constructor(
    context: PartitionConsumerContext,
    home: {
      readonly consumer: AnyConsumer;
      readonly entry: TopicEntry;
      readonly group: number;
      readonly partition: number;
      readonly position: number;
    },
    taken: TakenPosition,
  ) {
    this.#context = context;
    this.consumer = home.consumer;
    this.entry = home.entry;
    this.group = home.group;
    this.partition = home.partition;
    this.position = home.position;
    this.epoch = taken.epoch;
    this.#progress = new Progress(taken.nextOffset, taken.doneAbove);
    this.#fetchOffset = this.#progress.next;
    this.#explicitNext = taken.nextOffset;
    this.#committedNext = taken.nextOffset;
    const concurrency = this.consumer.mode === "ordered" ? 1 : this.consumer.concurrency;
    this.#queue = new KeyedQueue<Task>(concurrency, (task) => this.#begin(task));
    this.#failures = new FailurePolicy({ ...context, ...home, signal: this.#abort.signal });
    this.#finished = this.#consume();
  }

  /** Aborted when the partition is taken away or the drain's deadline has passed. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get transactions(): HandlerTransactions {
    return this.#context.transactions;
  }

  /** The offset from which it will read next. */
  get fetchOffset(): number {
    return this.#fetchOffset;
  }

  /** There may be something to read. */
  wake(): void {
    this.#wake.raise();
  }

  /** What is to be written of its position; `undefined` when nothing has changed since the last write. */
  pendingCommit(): PositionCommit | undefined {
    const explicit = this.consumer.commit === "explicit";
    const nextOffset = explicit ? Math.min(this.#progress.next, this.#explicitNext) : this.#progress.next;
    const doneAbove = explicit ? [] : this.#progress.ranges();
    if (nextOffset === this.#committedNext && JSON.stringify(doneAbove) === this.#committedRanges) return undefined;
    return { position: this.position, epoch: this.epoch, nextOffset, doneAbove };
  }

  /** A commit was written. */
  committed(commit: PositionCommit): void {
    this.#committedNext = commit.nextOffset;
    this.#committedRanges = JSON.stringify(commit.doneAbove);
  }

  transactionCommitted(offset: number): void {
    this.#explicitNext = Math.max(this.#explicitNext, offset + 1);
  }

  async commitNow(offset: number): Promise<void> {
    this.#progress.done(offset);
    this.#explicitNext = Math.max(this.#explicitNext, offset + 1);
    await this.#context.commitNow(this);
  }

  /**
   * Begins nothing more and waits for the handlers under way, at most `deadlineMs`; then aborts their signal. Resolves with
   * whether all of them were done in time.
   */
  async stop(deadlineMs: number): Promise<boolean> {
    this.#halt();
    if (this.#running > 0 && !this.#abort.signal.aborted) {
      const idle = deferred<void>();
      this.#idle = idle;
      const cancel = this.#context.clock.after(deadlineMs, () => idle.resolve());
      await idle.promise;
      cancel();
    }
    const inTime = this.#running === 0;
    this.#abort.abort(new SluiceError(inTime ? "CLOSED" : "DRAIN_TIMEOUT", "the consumer is stopped"));
    if (inTime) await this.#finished;
    return inTime;
  }

  /** The partition has another owner: begins nothing more, aborts what runs. */
  fence(): void {
    if (this.#stopped) return;
    this.#halt();
    this.#abort.abort(new SluiceError("FENCED", "the partition has another owner"));
    this.#context.onFenced(this);
  }

  #halt(): void {
    this.#stopped = true;
    this.#queue.stop();
    this.#wake.raise();
  }

  /** Reads ahead: while a full read's records are handed over, the next read is under way. */
  async #consume(): Promise<void> {
    let reading: Promise<ReadResult> | undefined;
    while (!this.#stopped) {
      const result = await (reading ?? this.#read());
      reading = undefined;
      if (this.#stopped) return;
      const from = this.#fetchOffset;
      this.#fetchOffset = result.next;
      this.#skipDropped(from, result);
      this.#hasReadAll = !result.more;
      if (result.more) reading = this.#read();
      this.#turnBeganAt = performance.now();
      for (const batch of result.batches) await this.#admit(batch, from);
      if (!result.more) await this.#wake.wait(60_000);
    }
    // A read that nobody waits for any more: its failure was logged and retried inside.
    await reading;
  }

  /** Retention may have dropped what was to be read next. */
  #skipDropped(from: number, result: ReadResult): void {
    const first = result.batches[0]?.baseOffset ?? result.next;
    if (first <= from) return;
    this.#context.logger.log("warn", "records were dropped by retention before this group had handled them", {
      ...this.#names(),
      from,
      to: first,
    });
    this.#progress.skipTo(first);
  }

  async #read(): Promise<ReadResult> {
    while (!this.#stopped) {
      try {
        const from = this.#fetchOffset;
        return await this.#context.log.read({
          topic: this.entry,
          partition: this.partition,
          from,
          isNext: this.#hasReadAll,
        });
      } catch (error) {
        this.#context.logger.log("warn", "reading failed and is tried again", {
          ...this.#names(),
          error: toError(error),
        });
        await pause(this.#context.clock, readRetryMs, this.signal);
      }
    }
    return { batches: [], next: this.#fetchOffset, more: false };
  }

  /** Hands a batch's records over, those at `from` and above that are not done yet, waiting for room before each. */
  async #admit(batch: ReadBatch, from: number): Promise<void> {
    const characters = Math.ceil(batch.characters / batch.count);
    for (let index = Math.max(0, from - batch.baseOffset); index < batch.count; index += 1) {
      if (this.#progress.isDone(batch.baseOffset + index)) continue;
      if (this.consumer.mode === "ordered") {
        const over = this.#handleInOrder(batch, index);
        if (over !== undefined) await over;
      } else {
        this.#buffered += 1;
        this.#bufferedCharacters += characters;
        this.#queue.add({ key: keyAt(batch, index), batch, index, characters, attempt: 1 });
        if (this.#isFull) await this.#waitForRoom();
      }
      if (this.#stopped) return;
      if (performance.now() - this.#turnBeganAt > turnMs) await this.#endTurn();
    }
  }

  async #waitForRoom(): Promise<void> {
    this.#waitsForRoom = true;
    while (this.#isFull && !this.#stopped) await this.#wake.wait(60_000);
    this.#waitsForRoom = false;
    this.#turnBeganAt = performance.now();
  }

  get #isFull(): boolean {
    return this.#buffered >= this.consumer.prefetch || this.#bufferedCharacters >= prefetchCharacters;
  }

  async #endTurn(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#turnBeganAt = performance.now();
  }

  /** Ordered mode needs no queue: the next record waits until this one is over, whatever it takes. */
  #handleInOrder(batch: ReadBatch, index: number): Promise<void> | undefined {
    this.#running += 1;
    const outcome = deliver(this, batch, index, 1);
    if (!(outcome instanceof Promise) && outcome.kind === "done") {
      this.#over(batch.baseOffset + index);
      return undefined;
    }
    return this.#untilOver(batch, index, outcome);
  }

  async #untilOver(batch: ReadBatch, index: number, first: Outcome | Promise<Outcome>): Promise<void> {
    let outcome = await first;
    for (let attempt = 1; outcome.kind !== "done"; attempt += 1) {
      const next = await this.#afterFailure(batch, index, attempt, outcome);
      if (next === "give-up") {
        this.#leave();
        return;
      }
      if (next === "over") break;
      // Put off: nothing runs meanwhile, so a stop need not wait for it.
      this.#leave();
      await pause(this.#context.clock, next.delayMs, this.signal);
      if (this.#stopped) return;
      this.#running += 1;
      outcome = await deliver(this, batch, index, attempt + 1);
    }
    this.#over(batch.baseOffset + index);
  }

  #begin(task: Task): void {
    this.#running += 1;
    const outcome = deliver(this, task.batch, task.index, task.attempt);
    if (outcome instanceof Promise) outcome.then((settled) => this.#settle(task, settled));
    // Never synchronously: a queue of handlers that do not wait would otherwise be a recursion.
    else queueMicrotask(() => this.#settle(task, outcome));
  }

  #settle(task: Task, outcome: Outcome): void {
    if (outcome.kind === "done") this.#finish(task);
    else void this.#settleFailure(task, outcome);
  }

  async #settleFailure(task: Task, outcome: Exclude<Outcome, { kind: "done" }>): Promise<void> {
    const next = await this.#afterFailure(task.batch, task.index, task.attempt, outcome);
    if (next === "over") {
      this.#finish(task);
      return;
    }
    this.#leave();
    if (next === "give-up") return;
    task.attempt += 1;
    this.#queue.putOff();
    this.#context.clock.after(next.delayMs, () => this.#queue.resume(task));
    this.#makeRoom();
  }

  #finish(task: Task): void {
    this.#buffered -= 1;
    this.#bufferedCharacters -= task.characters;
    this.#over(task.batch.baseOffset + task.index);
    this.#queue.finished(task);
    this.#makeRoom();
  }

  /** Lets the reader go on, in steps and not for every single record, but always when nothing runs. */
  #makeRoom(): void {
    if (!this.#waitsForRoom || this.#isFull) return;
    if (this.#running === 0 || this.#buffered <= this.consumer.prefetch - (this.consumer.prefetch >> 3))
      this.#wake.raise();
  }

  /** What comes after an attempt that did not succeed: another one, nothing more, or giving the partition up. */
  async #afterFailure(
    batch: ReadBatch,
    index: number,
    attempt: number,
    outcome: Exclude<Outcome, { kind: "done" }>,
  ): Promise<"over" | "give-up" | { readonly delayMs: number }> {
    if (outcome.kind === "fenced") {
      this.fence();
      return "give-up";
    }
    // Stopped in the middle: no verdict, no attempt spent; the next owner hands it over again.
    if (this.signal.aborted) return "give-up";
    // c.commit() came first: it is done, whatever the handler did afterwards.
    if (this.#progress.isDone(batch.baseOffset + index)) return "over";
    const verdict = await this.#failures.judge(batch, index, attempt, outcome);
    if (verdict === "pause") this.#halt();
    return verdict === "pause" || verdict === "stopped" ? "give-up" : verdict;
  }

  #over(offset: number): void {
    this.#progress.done(offset);
    this.#leave();
  }

  #leave(): void {
    this.#running -= 1;
    if (this.#running === 0) this.#idle?.resolve();
  }

  #names(): { topic: string; group: string; partition: number } {
    return { topic: this.entry.name, group: this.consumer.group, partition: this.partition };
  }
}
