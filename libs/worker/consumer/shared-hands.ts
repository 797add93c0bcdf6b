import type { AnyConsumer } from "@sluice/contract";
import { type Clock, deferred } from "@sluice/kernel";
import type { ReadBatch } from "@sluice/log";
import type { BatchEntry } from "./batch-delivery.ts";
import { ClaimedRetry } from "./claimed-retry.ts";
import { deliver, type Outcome } from "./delivery.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import type { LeaseWriter } from "./lease-writer.ts";
import type { LeasedRange } from "./leased-range.ts";
import type { PaceInForce } from "./pace-in-force.ts";
import { RangeSize } from "./range-size.ts";
import type { RateLimiter } from "./rate-limiter.ts";
import type { SharedFailures, SharedVerdict } from "./shared-failures.ts";
import { SharedGate } from "./shared-gate.ts";

/** What the handing-over works with. */
export interface SharedHandsContext {
  readonly consumer: AnyConsumer;
  readonly clock: Clock;
  readonly failures: SharedFailures;
  readonly writer: LeaseWriter;
  /** How fast its consumer may go at present, and what keeps to it. */
  readonly pace: PaceInForce;
  readonly rateLimiter: RateLimiter;
  /** Aborted when handlers under way are not waited for any more. */
  readonly signal: AbortSignal;
  /** There is room again, for messages of ranges. */
  readonly onRoom: () => void;
  /** There is room again, for messages that are handed over once more. */
  readonly onRoomAgain: () => void;
  /** A message was written down as one that failed. */
  readonly onVerdict: (verdict: SharedVerdict) => void;
}

/** Messages that are taken in hand once more at a time, where fewer are handled side by side. */
const mostAgain = 64;

/** A record on its way through the handler; `null` keys run side by side. */
interface Task {
  readonly key: null;
  readonly owner: LeasedRange | ClaimedRetry;
  readonly batch: ReadBatch;
  readonly index: number;
  hasTurn: boolean;
}

/** What a process has in hand of a shared group: hands messages over side by side, and sees to what becomes of each. */
export class SharedHands {
  readonly #context: SharedHandsContext;
  readonly #queue: KeyedQueue<Task>;
  readonly #gate: SharedGate<Task>;
  readonly #size: RangeSize;
  readonly #idle = deferred<void>();
  readonly #ended: Promise<void>;
  #running = 0;
  #inHand = 0;
  /** Messages that are handed over once more and wait for a place, or have one. */
  #again = 0;
  /** Those that the gate has set aside. */
  #againAside = 0;
  /** Those that are on their way. */
  #expected = 0;
  #stopped = false;

  constructor(context: SharedHandsContext) {
    this.#context = context;
    this.#size = new RangeSize(Math.min(this.#concurrency, this.#paced));
    this.#queue = new KeyedQueue<Task>(this.#concurrency, (task) => this.#begin(task));
    this.#gate = new SharedGate<Task>({
      rateLimiter: context.rateLimiter,
      putOff: (task) => this.#setAside(task),
      resume: (task) => this.#takeBack(task),
      begin: (task) => this.#begin(task),
    });
    this.heedPace();
    const { signal } = context;
    this.#ended = new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  }

  /** How many messages to lease at once. */
  get rangeRecords(): number {
    return Math.min(this.#size.records, this.#paced);
  }

  /** How many more messages may be in hand. Few while handlers or the pace are slow, so that other members find some, too; none out of hours. */
  get room(): number {
    if (this.#context.pace.era.isClosed) return 0;
    const inHand = this.#inHand - this.#gate.parked;
    const busy = inHand - this.#gate.waitingForKey;
    const { prefetch } = this.#context.consumer;
    return Math.min(this.#most - busy, prefetch - inHand, this.#paced - (inHand - this.#running));
  }

  /**
   * How many more messages may be taken in hand once more. They go before all others, and each is an attempt from then on: as many as
   * are handled side by side, and some more while handlers are quick, because every taking is a call.
   */
  get roomAgain(): number {
    const { era } = this.#context.pace;
    if (era.isClosed) return 0;
    const most = Math.max(era.concurrency, Math.min(mostAgain, this.#size.records));
    const ready = Math.min(most, this.#paced) - this.#again;
    return Math.min(ready, this.#context.consumer.prefetch - this.#againAside) - this.#expected;
  }

  /** Waits for a message that was taken in hand once more and has to be read: it has its room from now on. */
  async expect<Result>(reading: () => Promise<Result>): Promise<Result> {
    this.#expected += 1;
    return await reading().finally(() => {
      this.#expected -= 1;
      this.#context.onRoomAgain();
    });
  }

  /** Whether as much is in hand as may ever be. */
  get isFull(): boolean {
    return this.#inHand - this.#gate.parked >= this.#context.consumer.prefetch;
  }

  /** Which partitions are paused at present: what is in hand of them waits. */
  heed(paused: ReadonlySet<number>): void {
    this.#gate.heed(paused);
  }

  /** Another pace is in force: what is in hand goes by it, and what is in the handler on to its end. */
  heedPace(): void {
    this.#queue.limitTo(this.#concurrency);
    this.#gate.heedHours(this.#context.pace.era.isClosed);
  }

  add(owner: LeasedRange, batch: ReadBatch, index: number): void {
    this.#inHand += 1;
    this.#queue.add({ key: null, owner, batch, index, hasTurn: false });
  }

  /** The same for messages that go together. Resolves when all of them are over, their range is lost, or the process stops. */
  async untilDone(range: LeasedRange, places: readonly BatchEntry[]): Promise<void> {
    if (this.#stopped) return;
    for (const { batch, index } of places) this.add(range, batch, index);
    await Promise.race([range.untilDone(places.map(({ batch, index }) => batch.baseOffset + index)), this.#ended]);
  }

  /** The same for a message that is handed over once more: before all others, for its attempt is counted. Resolves when it is over, or the process stops. */
  async untilHandled(retry: ClaimedRetry, batch: ReadBatch, index: number): Promise<void> {
    if (this.#stopped) return;
    this.#inHand += 1;
    this.#again += 1;
    this.#queue.addFirst({ key: null, owner: retry, batch, index, hasTurn: false });
    await Promise.race([retry.settled, this.#ended]);
  }

  /** A message of a range is done, or is no longer part of it. */
  done(range: LeasedRange, offset: number): void {
    if (range.isComplete) return;
    range.done(offset);
    this.#afterDone(range);
  }

  /** Messages of a range are nobody's: the filter kept them back. */
  passOver(range: LeasedRange, from: number, to: number): void {
    if (range.isComplete) return;
    range.passOver(from, to);
    this.#afterDone(range);
  }

  #afterDone(range: LeasedRange): void {
    if (!range.isComplete) return;
    this.#size.completed(range.to - range.from, performance.now() - range.leasedAt);
    this.#context.writer.completed();
  }

  /** Begins nothing any more. */
  halt(): void {
    this.#stopped = true;
    this.#queue.stop();
    this.#gate.stop();
  }

  /** Waits for the handlers under way, at most `deadlineMs`. Resolves with whether all of them were done in time. */
  async drained(deadlineMs: number): Promise<boolean> {
    if (this.#running > 0) {
      const cancel = this.#context.clock.after(deadlineMs, () => this.#idle.resolve());
      await this.#idle.promise;
      cancel();
    }
    return this.#running === 0;
  }

  get #concurrency(): number {
    return this.#context.pace.era.concurrency;
  }

  /** Messages that may wait for the group's pace: those of a second, so that other members find some, too. */
  get #paced(): number {
    return this.#context.rateLimiter.recordsPerSecond;
  }

  get #most(): number {
    return Math.min(this.#context.consumer.prefetch, 2 * this.#size.records + this.#concurrency);
  }

  #begin(task: Task): void {
    const { owner, batch, index } = task;
    if (!owner.isOver && this.#gate.holds(task)) return;
    this.#running += 1;
    if (owner.isOver) {
      queueMicrotask(() => {
        this.#leavePlace(task);
        this.#finish(task);
      });
      return;
    }
    const outcome = deliver(owner, batch, index, owner instanceof ClaimedRetry ? owner.attempt : 1);
    if (outcome instanceof Promise) outcome.then((settled) => this.#settle(task, settled));
    // Never synchronously: a queue of handlers that do not wait would otherwise be a recursion.
    else queueMicrotask(() => this.#settle(task, outcome));
  }

  #settle(task: Task, outcome: Outcome): void {
    const { owner, batch, index } = task;
    if (outcome.kind === "done" && !(owner instanceof ClaimedRetry)) {
      this.done(owner, batch.baseOffset + index);
      this.#leavePlace(task);
      this.#finish(task);
      return;
    }
    // What is left to do is the database's; others may take its place meanwhile.
    this.#leavePlace(task);
    void this.#settleSlowly(task, outcome).finally(() => this.#finish(task));
  }

  /** The gate keeps it for a while: it takes no room from others. */
  #setAside(task: Task): void {
    this.#queue.putOff(task);
    if (!(task.owner instanceof ClaimedRetry)) return;
    this.#again -= 1;
    this.#againAside += 1;
    this.#context.onRoomAgain();
  }

  #takeBack(task: Task): void {
    if (task.owner instanceof ClaimedRetry) {
      this.#again += 1;
      this.#againAside -= 1;
    }
    this.#queue.resume(task);
  }

  #leavePlace(task: Task): void {
    this.#queue.putOff(task);
    if (!(task.owner instanceof ClaimedRetry)) return;
    this.#again -= 1;
    this.#context.onRoomAgain();
  }

  /** What has to be written down: failures, and whatever becomes of messages that failed before. */
  async #settleSlowly({ owner, batch, index }: Task, outcome: Outcome): Promise<void> {
    const { failures, signal, onVerdict } = this.#context;
    if (outcome.kind === "fenced") {
      owner.lose();
      return;
    }
    // Stopped in the middle: no verdict, no attempt spent; the next member hands it over again.
    if (owner.isOver || signal.aborted) return;
    if (owner instanceof ClaimedRetry) {
      if (owner.isFinished) return;
      if (outcome.kind === "done") await failures.done(owner);
      else onVerdict(await failures.ofRetry(owner, batch, index, outcome));
    } else if (outcome.kind !== "done" && !owner.isDone(batch.baseOffset + index)) {
      const verdict = await failures.ofRange(owner, batch, index, outcome);
      if (verdict !== "stopped") this.done(owner, batch.baseOffset + index);
      onVerdict(verdict);
    }
  }

  #finish(task: Task): void {
    const { owner } = task;
    if (owner instanceof ClaimedRetry) {
      // One that was stopped in the middle is given back by the writer.
      if (!this.#context.signal.aborted) this.#context.writer.removeClaim(owner);
      owner.settle();
    }
    this.#inHand -= 1;
    this.#running -= 1;
    if (this.#stopped && this.#running === 0) this.#idle.resolve();
    // In steps, and not for every single message.
    if (this.room >= Math.max(1, Math.min(this.#size.records, this.#most >> 2, this.#paced / 2)))
      this.#context.onRoom();
  }
}
