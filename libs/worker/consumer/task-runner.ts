import type { WaitingRetry } from "@sluice/broker";
import { type Deferred, deferred } from "@sluice/kernel";
import type { ReadBatch } from "@sluice/log";
import { keyAt } from "../batch-record.ts";
import { deliver, type Outcome } from "./delivery.ts";
import type { Attempt, Verdict } from "./failure-policy.ts";
import { KeyedBatches } from "./keyed-batches.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import { LentPlaces } from "./lent-places.ts";
import { OrderedBatches } from "./ordered-batches.ts";
import { pause } from "./pause.ts";
import type { PutOffMessage } from "./put-off-message.ts";
import { PutOffMessages } from "./put-off-messages.ts";
import { RedrivenTask } from "./redriven-owner.ts";
import { inOrder, neverFinished, type Task, type TaskRunnerContext } from "./task.ts";
import { Timers } from "./timers.ts";

/** Characters of values that may wait in memory per partition, beside the consumer's `prefetch`. */
const prefetchCharacters = 8 * 1_048_576;
/** Messages of one partition that may wait to be handed over again; with more, nothing new is handed over. */
const waitingMessages = 50_000;

const fenced: Outcome = { kind: "fenced" };

/**
 * Takes the records of one partition through the handler, in the order that the consumer's mode asks for, again if need
 * be, until each is over; and notes in the owner's progress what the position may pass.
 */
export class TaskRunner {
  readonly #context: TaskRunnerContext;
  /** In keyed mode, what is to be handed over. */
  readonly queue: KeyedQueue<Task | RedrivenTask>;
  readonly #isOrdered: boolean;
  /** For an ordered consumer with batches. */
  readonly batches: OrderedBatches | undefined;
  /** For a keyed one: what is to be handed over together. */
  readonly #together: KeyedBatches | undefined;
  /** For messages that were put off. */
  readonly #timers: Timers;
  /** Tasks that were begun and are neither over nor put off. */
  #running = 0;
  #buffered = 0;
  #bufferedCharacters = 0;
  readonly #putOff: PutOffMessages;
  readonly #places: LentPlaces;
  #isStopped = false;
  /** Aborted when nothing more begins. */
  readonly #stopping = new AbortController();
  #wantsRoom = false;
  #idle: Deferred<void> | undefined;

  constructor(context: TaskRunnerContext) {
    this.#context = context;
    this.#isOrdered = context.consumer.mode === "ordered";
    const concurrency = this.#isOrdered ? 1 : context.consumer.concurrency;
    const begin = (task: Task | RedrivenTask) =>
      task instanceof RedrivenTask ? context.onRedriven(task) : this.#begin(task);
    this.queue = new KeyedQueue<Task | RedrivenTask>(concurrency, begin, context.lane);
    this.#timers = new Timers(context.clock);
    this.#putOff = new PutOffMessages(context.keeper);
    this.#places = new LentPlaces(this.#putOff, context.consumer, context.signal);
    const { batching } = context.consumer;
    if (batching === undefined) return;
    if (this.#isOrdered) {
      this.batches = new OrderedBatches(batching, {
        ...context,
        run: (work) => this.run(work),
        handle: (batch, index, attempt) => this.#handleInOrder(batch, index, attempt),
        settle: (batch, index, outcome) => this.#settleInOrder(batch, index, outcome),
      });
    } else {
      this.#together = new KeyedBatches(batching, {
        ...context,
        mayBegin: async () => (await context.mayBegin()) && !this.#isStopped,
        began: (tasks) => {
          this.#running += tasks;
        },
        ended: () => this.#leave(),
        settle: (task, outcome) => this.#settle(task, outcome),
        queue: this.queue,
      });
    }
  }

  /** Whether anything is in a handler's hands. */
  get isRunning(): boolean {
    return this.#running > 0;
  }

  /** Whether nothing more may be added; `onRoom` tells of the end. */
  get isFull(): boolean {
    const { prefetch } = this.#context.consumer;
    this.#wantsRoom =
      this.#buffered >= prefetch ||
      this.#bufferedCharacters >= prefetchCharacters ||
      this.#putOff.count >= waitingMessages;
    return this.#wantsRoom;
  }

  /** Whether what is handed over waits for its turn, one by one. */
  get isPaced(): boolean {
    return this.#context.rateLimiter.isOn;
  }

  /** So many in the handler at a time from now on. In ordered mode it stays one. */
  limitTo(concurrency: number): void {
    if (!this.#isOrdered) this.queue.limitTo(concurrency);
  }

  /** Resolves when nothing is in a handler's hands. */
  async idle(): Promise<void> {
    if (this.#running === 0) return;
    this.#idle ??= deferred<void>();
    await this.#idle.promise;
  }

  /** Begins nothing any more. */
  stop(): void {
    this.#isStopped = true;
    this.#stopping.abort();
    this.#together?.stop();
    this.#timers.end();
    this.queue.stop();
    for (const work of this.#places.stop()) void this.run(work);
  }

  /**
   * Hands a record over, or puts it in line. A promise when the next one must wait until this one is over.
   *
   * @param attempt how often that makes; more than the consumer allows: it is given up
   * @param isAlone whether it is to be part of no batch
   */
  add(batch: ReadBatch, index: number, attempt: number, isAlone: boolean): Promise<void> | undefined {
    if (this.batches !== undefined) return this.batches.add(batch, index, attempt, isAlone || this.isPaced);
    if (this.#isOrdered) return this.#handleInOrder(batch, index, attempt);
    const characters = Math.ceil(batch.characters / (batch.matches?.length ?? batch.count));
    this.#buffered += 1;
    this.#bufferedCharacters += characters;
    this.queue.add({
      key: keyAt(batch, index),
      offset: batch.baseOffset + index,
      characters,
      record: { batch, index },
      attempt,
      isPutOff: false,
      isAlone,
    });
    return undefined;
  }

  /** Does work that a stop waits for. */
  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#running += 1;
    return await work().finally(() => this.#leave());
  }

  /** Takes up what the last owner had put off, before anything new. */
  async recover(rows: readonly WaitingRetry[]): Promise<void> {
    const { clock, signal, progress } = this.#context;
    const tasks = rows.map((row): Task => {
      progress.done(row.offset);
      const { key, offset, attempt } = row;
      const task = { key, offset, attempt, characters: 0, record: undefined, isPutOff: false, isAlone: true };
      this.#putOff.add(task);
      return task;
    });
    if (!this.#isOrdered) for (const task of tasks) this.queue.keepKey(task);
    for (const [index, { inHand, dueInMs }] of rows.entries()) {
      const task = tasks[index] as Task;
      if (this.#isOrdered) {
        await pause(clock, dueInMs, signal);
        if (!(await this.#waitForTurn(task))) return;
        this.#running += 1;
        await this.#untilOver(task, this.#deliverAgain(task));
      } else if (inHand) {
        // It may be why that owner ended: alone, so that no other is blamed for it.
        this.queue.resume(task);
        await this.idle();
      } else this.#timers.after(dueInMs, () => this.queue.resume(task));
    }
  }

  /** Ordered mode needs no queue: the next record waits until this one is over, whatever it takes. */
  #handleInOrder(batch: ReadBatch, index: number, attempt: number): Promise<void> | undefined {
    this.#running += 1;
    if (this.isPaced) return this.#handleInTurn(batch, index, attempt);
    const outcome = this.#deliver(batch, index, attempt);
    if (!(outcome instanceof Promise) && outcome.kind === "done") {
      this.#context.progress.done(batch.baseOffset + index);
      this.#leave();
      return undefined;
    }
    return this.#untilOver(inOrder(batch, index, attempt), outcome);
  }

  async #settleInOrder(batch: ReadBatch, index: number, outcome: Outcome): Promise<void> {
    this.#running += 1;
    await this.#untilOver(inOrder(batch, index, 1), outcome);
  }

  async #handleInTurn(batch: ReadBatch, index: number, attempt: number): Promise<void> {
    const task = inOrder(batch, index, attempt);
    if (!(await this.#waitForTurn(task))) {
      this.#leave();
      return;
    }
    await this.#untilOver(task, this.#deliver(batch, index, attempt));
  }

  /** Resolves with whether it may be handed over; not when nothing begins any more. */
  async #waitForTurn(task: Task): Promise<boolean> {
    const { rateLimiter, mayBegin } = this.#context;
    return (await rateLimiter.untilTurn(task.key, this.#stopping.signal, mayBegin)) && !this.#isStopped;
  }

  async #untilOver(task: Task, first: Outcome | Promise<Outcome>): Promise<void> {
    for (let outcome = await first; outcome.kind !== "done"; outcome = await this.#deliverAgain(task)) {
      const next = await this.#afterFailure(task, outcome);
      if (next === "over") break;
      if (next === "give-up") {
        this.#leave();
        return;
      }
      this.#keep(task, next);
      // Nothing runs meanwhile, so a stop need not wait for it.
      this.#leave();
      await pause(this.#context.clock, next.delayMs, this.#context.signal);
      if (!(await this.#waitForTurn(task))) return;
      this.#running += 1;
    }
    if (task.isPutOff) await this.#forget(task);
    else this.#context.progress.done(task.offset);
    this.#leave();
  }

  #begin(task: Task): void {
    if (this.#together !== undefined && !task.isAlone && !this.isPaced) {
      this.#together.add(task);
      return;
    }
    this.#running += 1;
    if (this.isPaced && task.hasTurn !== true) {
      void this.#takeTurn(task);
      return;
    }
    task.hasTurn = false;
    const { record, attempt } = task;
    if (record === undefined && this.#places.mayLend && !this.isPaced) {
      void this.#countAside(task);
      return;
    }
    const outcome =
      record === undefined || task.isPutOff
        ? this.#deliverAgain(task)
        : this.#deliver(record.batch, record.index, attempt);
    if (outcome instanceof Promise) outcome.then((settled) => this.#settle(task, settled));
    // Never synchronously: a queue of handlers that do not wait would otherwise be a recursion.
    else queueMicrotask(() => this.#settle(task, outcome));
  }

  /** Who waits for its key's turn gives its place to others, who waits for the group's waits in line: until another pace has perhaps fewer places. */
  async #takeTurn(task: Task): Promise<void> {
    const { rateLimiter, mayBegin } = this.#context;
    const { signal } = this.#stopping;
    const { isPerKey } = rateLimiter;
    const turn = await rateLimiter.reserve(isPerKey ? task.key : null, signal);
    if (!isPerKey) await rateLimiter.over(turn, signal);
    const mayRun = isPerKey || (await mayBegin());
    const isNow = !isPerKey && rateLimiter.holds(turn);
    if (mayRun && !isNow) this.queue.putOff(task);
    this.#leave();
    if (!mayRun) return;
    if (!isNow) await rateLimiter.over(turn, signal);
    task.hasTurn = rateLimiter.holds(turn);
    if (isNow) this.#begin(task);
    else this.queue.resume(task);
  }

  /** Counts a message's attempt while others use its place, and lets it go before them then. */
  async #countAside(task: Task): Promise<void> {
    this.queue.putOff(task);
    const over = await this.#places.countAside(task);
    if (over === undefined) {
      this.#leave();
      this.queue.addFirst(task);
    } else if (over === "given back") this.#leave();
    else if (over.kind === "done") await this.#finish(task);
    else await this.#settleFailure(task, over);
  }

  /** Hands over a message that was put off: its attempt is counted first, unless it is already. */
  async #deliverAgain(task: Task): Promise<Outcome> {
    this.#places.begun(task);
    const over = task.record === undefined ? await this.#putOff.begin(task) : undefined;
    if (over !== undefined || task.record === undefined) return over ?? fenced;
    const began = performance.now();
    const outcome = await this.#deliver(task.record.batch, task.record.index, task.attempt);
    this.#places.took(performance.now() - began);
    return outcome;
  }

  #deliver(batch: ReadBatch, index: number, attempt: number): Outcome | Promise<Outcome> {
    const { owner, consumer } = this.#context;
    return attempt > consumer.attempts ? neverFinished : deliver(owner, batch, index, attempt);
  }

  #settle(task: Task, outcome: Outcome): void {
    if (outcome.kind === "done" && !task.isPutOff) {
      this.#unbuffer(task);
      this.#context.progress.done(task.offset);
      this.queue.finished(task);
      this.#leave();
      this.#makeRoom();
      return;
    }
    // What is left to do is the database's; others may take its place meanwhile.
    this.queue.putOff(task);
    if (outcome.kind === "done") void this.#finish(task);
    else void this.#settleFailure(task, outcome);
  }

  async #settleFailure(task: Task, outcome: Exclude<Outcome, { kind: "done" }>): Promise<void> {
    const next = await this.#afterFailure(task, outcome);
    if (next === "over") {
      await this.#finish(task);
      return;
    }
    if (typeof next === "object") {
      if (!task.isPutOff) this.#unbuffer(task);
      this.#keep(task, next);
      this.#timers.after(next.delayMs, () => this.queue.resume(task));
    }
    this.#leave();
    this.#makeRoom();
  }

  /** A task that has left its place is over. */
  async #finish(task: Task): Promise<void> {
    if (task.isPutOff) await this.#forget(task);
    else {
      this.#unbuffer(task);
      this.#context.progress.done(task.offset);
    }
    this.queue.freeKey(task);
    this.#leave();
    this.#makeRoom();
  }

  /** Its row has it from now on: the position may pass it. */
  #keep(task: Task, message: PutOffMessage): void {
    if (!task.isPutOff) this.#context.progress.done(task.offset);
    this.#putOff.add(task, message);
  }

  /** It is over: its row goes. */
  async #forget(task: Task): Promise<void> {
    if ((await this.#putOff.end(task)) === "fenced") this.#context.onFenced();
  }

  #unbuffer(task: Task): void {
    this.#buffered -= 1;
    this.#bufferedCharacters -= task.characters;
  }

  /** Lets the reader go on, in steps and not for every single record, but always when nothing runs. */
  #makeRoom(): void {
    if (!this.#wantsRoom || this.isFull) return;
    const { prefetch } = this.#context.consumer;
    if (this.#running === 0 || this.#buffered <= prefetch - (prefetch >> 3)) this.#context.onRoom();
    else this.#wantsRoom = true;
  }

  /** What comes after an attempt that did not succeed: another one, nothing more, or giving the partition up. */
  async #afterFailure(
    { record, offset, attempt, isPutOff }: Task,
    outcome: Exclude<Outcome, { kind: "done" }>,
  ): Promise<"over" | "give-up" | Exclude<Verdict, string>> {
    // Stopped in the middle: no verdict, no attempt spent; the next owner hands it over again.
    if (this.#context.signal.aborted) return "give-up";
    if (outcome.kind === "fenced" || record === undefined) {
      this.#context.onFenced();
      return "give-up";
    }
    // c.commit() came first: it is done, whatever the handler did afterwards.
    if (!isPutOff && this.#context.progress.isDone(offset)) return "over";
    const failed: Attempt = { ...record, attempt: Math.min(attempt, this.#context.consumer.attempts), isPutOff };
    const verdict = await this.#context.failures.judge(failed, outcome);
    if (verdict === "fenced") this.#context.onFenced();
    if (verdict === "pause") await this.#context.onPause(offset, "error" in outcome ? outcome.error : undefined);
    return typeof verdict === "object" || verdict === "over" ? verdict : "give-up";
  }

  #leave(): void {
    this.#running -= 1;
    if (this.#running > 0) return;
    this.#idle?.resolve();
    this.#idle = undefined;
  }
}
