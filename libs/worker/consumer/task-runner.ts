import type { WaitingRetry } from "@sluice/broker";
import type { ReadBatch } from "@sluice/log";
import { keyAt } from "../batch-record.ts";
import { afterFailure } from "./after-failure.ts";
import { deliver, type Outcome } from "./delivery.ts";
import { Hands } from "./hands.ts";
import { KeyedBatches } from "./keyed-batches.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import { LentPlaces } from "./lent-places.ts";
import { LoneTurn } from "./lone-turn.ts";
import { OrderedBatches } from "./ordered-batches.ts";
import { pause } from "./pause.ts";
import type { PutOffMessage } from "./put-off-message.ts";
import { PutOffMessages } from "./put-off-messages.ts";
import { ReadAhead } from "./read-ahead.ts";
import { RedrivenTask } from "./redriven-owner.ts";
import { inOrder, neverFinished, type Task, type TaskRunnerContext } from "./task.ts";
import { Timers } from "./timers.ts";

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
  /** For what was in hand when a process ended. */
  readonly lone: LoneTurn;
  /** Tasks that were begun and are neither over nor put off. */
  readonly hands = new Hands();
  readonly #readAhead: ReadAhead;
  readonly #putOff: PutOffMessages;
  readonly #places: LentPlaces;
  #isStopped = false;
  /** Aborted when nothing more begins. */
  readonly #stopping = new AbortController();

  constructor(context: TaskRunnerContext) {
    this.#context = context;
    this.#isOrdered = context.consumer.mode === "ordered";
    const concurrency = this.#isOrdered ? 1 : context.consumer.concurrency;
    const begin = (task: Task | RedrivenTask) =>
      task instanceof RedrivenTask ? context.onRedriven(task) : this.#begin(task);
    this.queue = new KeyedQueue<Task | RedrivenTask>(concurrency, begin, context.lane);
    this.lone = new LoneTurn(this.queue);
    this.#timers = new Timers(context.clock);
    this.#putOff = new PutOffMessages(context.keeper);
    this.#readAhead = new ReadAhead(context.consumer.prefetch, this.#putOff, context.onRoom);
    this.#places = new LentPlaces(this.#putOff, context.consumer, context.signal);
    const { batching } = context.consumer;
    if (batching === undefined) return;
    if (this.#isOrdered) {
      this.batches = new OrderedBatches(batching, {
        ...context,
        run: (work) => this.run(work),
        handle: (batch, index) => this.#handleInOrder(batch, index),
        settle: (batch, index, outcome) => this.#settleInOrder(batch, index, outcome),
      });
    } else {
      this.#together = new KeyedBatches(batching, {
        ...context,
        mayBegin: async () => (await this.lone.after(context.mayBegin)) && !this.#isStopped,
        began: (tasks) => this.hands.begin(tasks),
        ended: () => this.hands.leave(),
        settle: (task, outcome) => this.#settle(task, outcome),
        queue: this.queue,
      });
    }
  }

  /** Whether anything is in hand, or about to go alone. */
  get isBusy(): boolean {
    return this.hands.isRunning || this.lone.isTaken;
  }

  /** Resolves when nothing was in hand and nobody went alone; look again. */
  async quiet(): Promise<void> {
    await this.hands.idle();
    await this.lone.over();
  }

  /** Whether nothing more may be added; `onRoom` tells of the end. */
  get isFull(): boolean {
    return this.#readAhead.isFull;
  }

  /** Whether what is handed over waits for its turn, one by one. */
  get isPaced(): boolean {
    return this.#context.rateLimiter.isOn;
  }

  /** So many in the handler at a time from now on. In ordered mode it stays one. */
  limitTo(concurrency: number): void {
    if (!this.#isOrdered) this.queue.limitTo(concurrency);
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
   * @param isAlone whether it is to be part of no batch
   */
  add(batch: ReadBatch, index: number, isAlone: boolean): Promise<void> | undefined {
    if (this.batches !== undefined) return this.batches.add(batch, index, isAlone || this.isPaced);
    if (this.#isOrdered) return this.#handleInOrder(batch, index);
    this.queue.add(this.#buffer(batch, index, isAlone));
    return undefined;
  }

  /** As {@link add}, for a message that saw processes end: it goes alone, and is noted right before it is handed over. */
  addSuspect(batch: ReadBatch, index: number): Promise<unknown> | undefined {
    const task = this.#isOrdered ? inOrder(batch, index) : this.#buffer(batch, index, true);
    task.suspect = task.record;
    task.record = undefined;
    task.wasInHand = true;
    if (this.#isOrdered) return this.#handleCounting(task);
    this.queue.add(task);
    return undefined;
  }

  #buffer(batch: ReadBatch, index: number, isAlone: boolean): Task {
    const characters = Math.ceil(batch.characters / (batch.matches?.length ?? batch.count));
    this.#readAhead.take(characters);
    return {
      key: keyAt(batch, index),
      offset: batch.baseOffset + index,
      characters,
      record: { batch, index },
      attempt: 1,
      isPutOff: false,
      isAlone,
    };
  }

  /** Does work that a stop waits for. */
  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    this.hands.begin();
    return await work().finally(() => this.hands.leave());
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
        if (!(await this.#handleCounting(task))) return;
      } else if (inHand) {
        task.wasInHand = true;
        this.queue.addFirst(task);
      } else this.#timers.after(dueInMs, () => this.queue.resume(task));
    }
    await this.lone.over();
  }

  /** Ordered mode: hands over a task whose attempt is still to be counted. Resolves with whether anything more may begin. */
  async #handleCounting(task: Task): Promise<boolean> {
    if (!(await this.#waitForTurn(task))) return false;
    this.hands.begin();
    await this.#untilOver(task, this.#deliverAgain(task));
    return true;
  }

  /** Ordered mode needs no queue: the next record waits until this one is over, whatever it takes. */
  #handleInOrder(batch: ReadBatch, index: number): Promise<void> | undefined {
    this.hands.begin();
    if (this.isPaced) return this.#handleInTurn(batch, index);
    const outcome = this.#deliver(batch, index, 1);
    if (!(outcome instanceof Promise) && outcome.kind === "done") {
      this.#context.progress.done(batch.baseOffset + index);
      this.hands.leave();
      return undefined;
    }
    return this.#untilOver(inOrder(batch, index), outcome);
  }

  async #settleInOrder(batch: ReadBatch, index: number, outcome: Outcome): Promise<void> {
    this.hands.begin();
    await this.#untilOver(inOrder(batch, index), outcome);
  }

  async #handleInTurn(batch: ReadBatch, index: number): Promise<void> {
    const task = inOrder(batch, index);
    if (!(await this.#waitForTurn(task))) {
      this.hands.leave();
      return;
    }
    await this.#untilOver(task, this.#deliver(batch, index, 1));
  }

  /** Resolves with whether it may be handed over; not when nothing begins any more. */
  async #waitForTurn(task: Task): Promise<boolean> {
    const { rateLimiter, mayBegin } = this.#context;
    return (await rateLimiter.untilTurn(task.key, this.#stopping.signal, mayBegin)) && !this.#isStopped;
  }

  async #untilOver(task: Task, first: Outcome | Promise<Outcome>): Promise<void> {
    for (let outcome = await first; outcome.kind !== "done"; outcome = await this.#deliverAgain(task)) {
      const next = await afterFailure(this.#context, task, outcome);
      if (next === "over") break;
      if (next === "give-up") {
        this.hands.leave();
        return;
      }
      this.#keep(task, next);
      // Nothing runs meanwhile, so a stop need not wait for it.
      this.hands.leave();
      await pause(this.#context.clock, next.delayMs, this.#context.signal);
      if (!(await this.#waitForTurn(task))) return;
      this.hands.begin();
    }
    if (task.isPutOff) await this.#forget(task);
    else this.#context.progress.done(task.offset);
    this.hands.leave();
  }

  #begin(task: Task): void {
    if (this.#together !== undefined && !task.isAlone && !this.isPaced) {
      this.#together.add(task);
      return;
    }
    this.hands.begin();
    if (this.isPaced && task.hasTurn !== true) {
      void this.#takeTurn(task);
      return;
    }
    task.hasTurn = false;
    const { record, attempt } = task;
    if (record === undefined && (task.wasInHand === true || (this.#places.mayLend && !this.isPaced))) {
      void (task.wasInHand === true ? this.#goAlone(task) : this.#countAside(task));
      return;
    }
    const outcome =
      record === undefined || task.isPutOff
        ? this.#deliverAgain(task)
        : this.#deliver(record.batch, record.index, attempt);
    if (outcome instanceof Promise) outcome.then((settled) => void this.#settle(task, settled));
    // Never synchronously: a queue of handlers that do not wait would otherwise be a recursion.
    else queueMicrotask(() => void this.#settle(task, outcome));
  }

  /** Who waits for its key's turn gives its place to others, who waits for the group's waits in line: until another pace has perhaps fewer places. */
  async #takeTurn(task: Task): Promise<void> {
    const { rateLimiter, mayBegin } = this.#context;
    const { signal } = this.#stopping;
    const { isPerKey } = rateLimiter;
    this.hands.beginTurn();
    const turn = await rateLimiter.reserve(isPerKey ? task.key : null, signal);
    if (!isPerKey) await rateLimiter.over(turn, signal);
    const mayRun = isPerKey || (await mayBegin());
    // While another goes alone its turn goes by, and it asks for one anew: else what waited would go all at once.
    const isMissed = !isPerKey && this.lone.isTaken;
    const isNow = !isPerKey && !isMissed && rateLimiter.holds(turn);
    if (mayRun && !isNow) this.queue.putOff(task);
    this.hands.leaveTurn();
    if (!mayRun) return;
    if (!isNow) await rateLimiter.over(turn, signal);
    task.hasTurn = !isMissed && rateLimiter.holds(turn);
    if (isNow) this.#begin(task);
    else this.queue.resume(task);
  }

  /** Counts a message's attempt while others use its place, and lets it go before them then. */
  async #countAside(task: Task): Promise<void> {
    this.queue.putOff(task);
    const over = await this.#places.countAside(task);
    if (over === undefined) {
      // In this order: it is never over in between, for those who wait for that.
      this.queue.addFirst(task);
      this.hands.leave();
    } else if (over === "given back") this.hands.leave();
    else if (over.kind === "done") await this.#finish(task);
    else await this.#settleFailure(task, over);
  }

  /** Hands over what was in hand when a process ended, while nothing else is, so that no other is blamed for it. */
  async #goAlone(task: Task): Promise<void> {
    this.lone.take();
    // It has its place, and is in nobody's hands before all others are over.
    this.hands.leave();
    await this.hands.free();
    if ((await this.#context.mayBegin()) && !this.#isStopped) {
      task.wasInHand = false;
      this.hands.begin();
      await this.#settle(task, await this.#deliverAgain(task));
    }
    this.lone.end();
  }

  /** Hands over a message whose attempt is counted, or noted, first, unless it is already. */
  async #deliverAgain(task: Task): Promise<Outcome> {
    this.#places.begun(task);
    const over = task.record === undefined ? await this.#count(task) : undefined;
    if (over !== undefined || task.record === undefined) return over ?? fenced;
    const began = performance.now();
    const outcome = await this.#deliver(task.record.batch, task.record.index, task.attempt);
    this.#places.took(performance.now() - began);
    return outcome;
  }

  /** Counts the attempt that is about to be made. Gives what became of the message where none is. */
  async #count(task: Task): Promise<Outcome | undefined> {
    const { suspect, offset } = task;
    if (suspect === undefined) return await this.#putOff.begin(task);
    const attempt = await this.#context.note(offset);
    if (typeof attempt !== "number") return fenced;
    task.attempt = attempt;
    task.record = suspect;
    task.suspect = undefined;
    return undefined;
  }

  #deliver(batch: ReadBatch, index: number, attempt: number): Outcome | Promise<Outcome> {
    const { owner, consumer } = this.#context;
    return attempt > consumer.attempts ? neverFinished : deliver(owner, batch, index, attempt);
  }

  /** A promise where the database has to know first; it resolves when the task is over, or put off. */
  #settle(task: Task, outcome: Outcome): Promise<void> | undefined {
    if (outcome.kind === "done" && !task.isPutOff) {
      this.#readAhead.leave(task.characters);
      this.#context.progress.done(task.offset);
      this.queue.finished(task);
      this.hands.leave();
      this.#readAhead.offer(this.hands.isRunning);
      return undefined;
    }
    // What is left to do is the database's; others may take its place meanwhile.
    this.queue.putOff(task);
    return outcome.kind === "done" ? this.#finish(task) : this.#settleFailure(task, outcome);
  }

  async #settleFailure(task: Task, outcome: Exclude<Outcome, { kind: "done" }>): Promise<void> {
    const next = await afterFailure(this.#context, task, outcome);
    if (next === "over") {
      await this.#finish(task);
      return;
    }
    if (typeof next === "object") {
      if (!task.isPutOff) this.#readAhead.leave(task.characters);
      this.#keep(task, next);
      this.#timers.after(next.delayMs, () => this.queue.resume(task));
    }
    this.hands.leave();
    this.#readAhead.offer(this.hands.isRunning);
  }

  /** A task that has left its place is over. */
  async #finish(task: Task): Promise<void> {
    if (task.isPutOff) await this.#forget(task);
    else {
      this.#readAhead.leave(task.characters);
      this.#context.progress.done(task.offset);
    }
    this.queue.freeKey(task);
    this.hands.leave();
    this.#readAhead.offer(this.hands.isRunning);
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
}
