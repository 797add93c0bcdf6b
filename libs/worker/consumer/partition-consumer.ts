import type { OffsetRange, PositionCommit, TakenPosition } from "@sluice/broker";
import { type AnyConsumer, compose, type Handler } from "@sluice/contract";
import { Signal, SluiceError } from "@sluice/kernel";
import type { ReadBatch, ReadResult, TopicEntry } from "@sluice/log";
import { offsetOf, RecordCursor } from "../stage/record-cursor.ts";
import type { StageRunner } from "../stage/stage-runner.ts";
import { DroppedMessages } from "./dropped-messages.ts";
import { Expiry } from "./expiry.ts";
import { FailurePolicy } from "./failure-policy.ts";
import { HandOutReserve, toleratedCrashes } from "./hand-out-reserve.ts";
import { insist } from "./insist.ts";
import type { DeliveryServices } from "./message.ts";
import type { PaceInForce } from "./pace-in-force.ts";
import type { PartitionConsumerContext, PartitionHome } from "./partition-context.ts";
import { PartitionPause } from "./partition-pause.ts";
import { passedOver } from "./passed-over.ts";
import { Progress } from "./progress.ts";
import { type RedrivenHome, RedrivenSource } from "./redriven-source.ts";
import { RetryKeeper } from "./retry-keeper.ts";
import { TaskRunner } from "./task-runner.ts";
import { turns } from "./turns.ts";

/**
 * One partition, consumed by its owner under one epoch: reads ahead, hands records over, tries again, and keeps count
 * of what is done. It ends when stopped or fenced, and is never started again: a new term makes a new one.
 */
export class PartitionConsumer implements RedrivenHome {
  readonly consumer: AnyConsumer;
  readonly entry: TopicEntry;
  readonly group: number;
  readonly partition: number;
  readonly position: number;
  readonly epoch: number;
  readonly handler: Handler<unknown>;
  readonly expiry: Expiry;
  /** How fast its consumer may go at present. */
  readonly pace: PaceInForce;
  readonly #context: PartitionConsumerContext;
  readonly #progress: Progress;
  readonly #abort = new AbortController();
  readonly #wake = new Signal();
  readonly #keeper: RetryKeeper;
  readonly #runner: TaskRunner;
  readonly #reserve: HandOutReserve;
  /** Set where a full topic drops messages. */
  readonly #dropped: DroppedMessages | undefined;
  /** Messages below are handed over one by one, each noted before. 0: none are, or no more. */
  #suspectTo: number;
  /** Whether it hands over anything at present. */
  readonly pause: PartitionPause;
  /** Messages beside the log that it hands over once more. */
  readonly redriven: RedrivenSource;
  /** A stage takes several messages at once; without it they are handed over one by one. */
  readonly #stage: StageRunner | undefined;
  readonly #finished: Promise<void>;
  #fetchOffset: number;
  /** Whether the last read found no more after it. */
  #hasReadAll = false;
  #explicitNext: number;
  /** The last range that was passed over. */
  #passed: OffsetRange = [0, 0];
  #committedNext: number;
  #committedRanges = "";
  #stopped = false;
  /** Messages below may have been handed out, or are about to be. */
  #reach: number;
  #wantsReserve = false;
  /** Whether anything was begun that may do its message although it fails. */
  #hasCommits: boolean;

  constructor(context: PartitionConsumerContext, home: PartitionHome, taken: TakenPosition) {
    this.#context = context;
    this.consumer = home.consumer;
    this.handler = compose<unknown>(home.consumer.use, home.consumer.handler);
    this.entry = home.entry;
    this.group = home.group;
    this.partition = home.partition;
    this.position = home.position;
    this.epoch = taken.epoch;
    this.pace = home.pace;
    this.#progress = new Progress(taken.nextOffset, taken.doneAbove);
    this.#fetchOffset = this.#progress.next;
    this.#explicitNext = taken.nextOffset;
    this.#committedNext = taken.nextOffset;
    const { signal } = this.#abort;
    const keeper = new RetryKeeper({ ...context, owner: this, signal });
    this.#keeper = keeper;
    this.expiry = new Expiry({ ...context, ...home, letters: keeper, signal });
    this.#runner = new TaskRunner({
      consumer: this.consumer,
      owner: this,
      progress: this.#progress,
      keeper,
      failures: new FailurePolicy({ ...context, ...home, keeper, signal, mayBeDone: () => this.#hasCommits }),
      clock: context.clock,
      signal,
      rateLimiter: home.rateLimiter,
      lane: home.lane,
      mayBegin: () => this.mayBegin(),
      note: (offset) => this.#note(offset),
      onRedriven: (task) => this.redriven.begin(task),
      onFenced: () => this.fence(),
      onPause: async (offset, error) => {
        if ((await this.pause.pauseItself(offset, error)) === "fenced") this.fence();
        else this.#halt();
      },
      onRoom: () => this.#wake.raise(),
    });
    this.#reserve = new HandOutReserve(taken.nextOffset, taken);
    this.#reach = taken.nextOffset;
    this.#dropped = this.entry.guards.drops ? new DroppedMessages(context, this, this.#progress) : undefined;
    this.#suspectTo = taken.crashes > toleratedCrashes(this.consumer) ? taken.suspectTo : 0;
    this.pause = new PartitionPause(context, this, this.#runner.queue);
    this.redriven = new RedrivenSource(context, this, this.#runner.queue);
    this.heedPace();
    this.heed(home);
    this.#stage = home.runner;
    this.#hasCommits = home.runner !== undefined;
    this.#finished = this.#consume();
  }

  /** Aborted when the partition is taken away or the drain's deadline has passed. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get services(): DeliveryServices {
    return this.#context;
  }

  /** The offset from which it will read next. */
  get fetchOffset(): number {
    return this.#fetchOffset;
  }

  /** There may be something to read. */
  wake(): void {
    this.#wake.raise();
  }

  /** What the database says of its position: whether it is paused, and whether redriven messages wait for it. */
  heed({ paused, redriven }: { readonly paused: boolean; readonly redriven: boolean }): void {
    this.pause.heed(paused);
    if (redriven) this.redriven.ring();
  }

  /** Its {@link pace} has changed. */
  heedPace(): void {
    const { concurrency, isClosed } = this.pace.era;
    this.#runner.limitTo(concurrency);
    this.pause.heedHours(isClosed);
  }

  async mayBegin(): Promise<boolean> {
    await this.pause.over();
    return !this.#stopped;
  }

  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    return await this.#runner.run(work);
  }

  /** What is to be written of its position; `undefined` when nothing has changed since the last write. */
  pendingCommit(): PositionCommit | undefined {
    const explicit = this.consumer.commit === "explicit";
    const nextOffset = explicit ? Math.min(this.#progress.next, this.#explicitNext) : this.#progress.next;
    const doneAbove = explicit ? [] : this.#progress.ranges();
    const isSame = nextOffset === this.#committedNext && JSON.stringify(doneAbove) === this.#committedRanges;
    if (isSame && !this.#wantsReserve) return undefined;
    const handedTo = this.#reserve.next(this.#reach);
    return { position: this.position, epoch: this.epoch, nextOffset, doneAbove, handedTo };
  }

  /** A commit was written. */
  committed(commit: PositionCommit): void {
    this.#committedNext = commit.nextOffset;
    this.#committedRanges = JSON.stringify(commit.doneAbove);
    this.#reserve.written(commit.handedTo ?? 0, commit.handedTo === undefined ? 0 : this.#reach);
    // A write that was under way when more was asked for has not reserved that.
    if (this.#reach <= this.#reserve.end) this.#wantsReserve = false;
  }

  commitBegins(): void {
    this.#hasCommits = true;
  }

  transactionCommitted(offset: number): void {
    this.#commitUpTo(offset + 1);
    this.#stage?.committed(offset);
  }

  async commitNow(offset: number): Promise<void> {
    this.#progress.done(offset);
    this.#commitUpTo(offset + 1);
    await this.#context.commitNow();
  }

  /**
   * Begins nothing more and waits for the handlers under way, at most `deadlineMs`; then aborts their signal. Resolves with
   * whether all of them were done in time.
   */
  async stop(deadlineMs: number): Promise<boolean> {
    this.#halt();
    if (!this.#abort.signal.aborted) {
      const late = Promise.withResolvers<void>();
      const cancel = this.#context.clock.after(deadlineMs, late.resolve);
      await Promise.race([this.#runner.hands.idle(), late.promise]);
      cancel();
    }
    const inTime = !this.#runner.hands.isRunning;
    this.#abort.abort(new SluiceError(inTime ? "CLOSED" : "DRAIN_TIMEOUT", "the consumer is stopped"));
    if (inTime) await Promise.all([this.#finished, this.redriven.idle()]);
    return inTime;
  }

  /** The partition has another owner: begins nothing more, aborts what runs. */
  fence(): void {
    if (this.#stopped) return;
    this.#halt();
    this.#abort.abort(new SluiceError("FENCED", "the partition has another owner"));
    this.#context.onFenced();
  }

  #halt(): void {
    this.#stopped = true;
    this.#runner.stop();
    this.pause.remove();
    this.#wake.raise();
  }

  /** Reads ahead: while a full read's records are handed over, the next read is under way. */
  async #consume(): Promise<void> {
    await this.#runner.recover(await this.#keeper.waiting());
    let reading: Promise<ReadResult> | undefined;
    while (!this.#stopped) {
      if (this.redriven.waitsForTurn) await this.redriven.handleInTurn();
      const result = await (reading ?? this.#read());
      reading = undefined;
      if (this.#stopped) return;
      const from = this.#fetchOffset;
      this.#fetchOffset = result.next;
      this.#skipDropped(from, result);
      if (this.consumer.filter !== undefined) for (const range of passedOver(result, from)) this.passOver(...range);
      this.#hasReadAll = !result.more;
      if (result.more) reading = this.#read();
      if (!this.#reserve.isCareful(from)) await this.#reserveMore(result.next);
      await turns.begin();
      if (this.#stage !== undefined) await this.#admitTogether(this.#stage, new RecordCursor(result.batches, from));
      else for (const batch of result.batches) await this.#admit(batch, from);
      if (!result.more) await this.#rest();
    }
    // A read that nobody waits for any more: its failure was logged and retried inside.
    await reading;
  }

  /** Nothing more to read for now: hands over what was gathered, when it is time, and waits for more. */
  async #rest(): Promise<void> {
    const remainingMs = this.#runner.batches?.remainingMs;
    if (remainingMs === 0) await this.#runner.batches?.flush();
    await this.#wake.wait(remainingMs || 60_000);
  }

  /** Says how far it will hand out, before it does, and not in a pause. A write that was under way already has not said so: then once more. */
  async #reserveMore(to: number): Promise<void> {
    const isFew = this.#reserve.limitAt(to - 1) !== undefined;
    if (isFew) await this.pause.over();
    while (isFew && this.#runner.isBusy && !this.#stopped) await this.#runner.quiet();
    this.#reach = Math.max(this.#reach, to);
    while (!this.#stopped && this.#reach > this.#reserve.end) {
      this.#wantsReserve = true;
      await this.#write();
    }
  }

  async #write(): Promise<void> {
    await this.#insist("writing the position", this.#context.commitNow);
  }

  /** Retention may have dropped what was to be read next. */
  #skipDropped(from: number, result: ReadResult): void {
    const first = result.begin ?? result.batches[0]?.baseOffset ?? result.next;
    if (first <= from) return;
    this.#context.logger.log("warn", "records were dropped by retention before this group had handled them", {
      ...this.#names(),
      from,
      to: first,
    });
    this.#progress.skipTo(first);
  }

  /** What the filter kept back, or was dropped, is done. With explicit commits it is so together with the message before it. */
  passOver(first: number, end: number): void {
    this.#progress.passOver(first, end);
    if (first === this.#passed[1]) this.#passed = [this.#passed[0], end];
    else this.#passed = [first, end];
    this.#commitUpTo(this.#explicitNext);
  }

  /** With `commit: "explicit"`, all below `next` is to be written as done, and what the filter kept back right above it. */
  #commitUpTo(next: number): void {
    const [first, end] = this.#passed;
    this.#explicitNext = Math.max(this.#explicitNext, next >= first ? Math.max(next, end) : next);
  }

  async #read(): Promise<ReadResult> {
    const { filter } = this.consumer;
    const expected = this.#fetchOffset;
    const from = this.#dropped === undefined ? expected : await this.#dropped.pass(expected);
    this.#fetchOffset = from;
    const isNext = this.#hasReadAll && from === expected;
    const place = { topic: this.entry, partition: this.partition, from, isNext };
    const read = () => this.#context.log.read(filter === undefined ? place : { ...place, filter });
    const result = await this.#insist("reading", read);
    return result === "stopped" ? { batches: [], next: from, more: false } : result;
  }

  /** A stage's way: several records in one transaction where it can, and one by one those that it leaves. */
  async #admitTogether(stage: StageRunner, cursor: RecordCursor): Promise<void> {
    while (!this.#stopped) {
      await this.#untilTurn();
      if (this.#dropped?.isDue(cursor.next) === true) await this.#dropped.pass(cursor.next);
      const places = cursor.take(this.#reserve.limitAt(cursor.next) ?? stage.size, (offset) =>
        this.#progress.isDone(offset),
      );
      const last = places.at(-1);
      if (last === undefined) return;
      if (offsetOf(last) >= this.#reserve.end) await this.#reserveMore(offsetOf(last) + 1);
      const isOrdinary =
        this.#suspectTo === 0 && !places.some((place) => this.expiry.concerns(place.batch, place.index));
      const outcome =
        isOrdinary && !this.#runner.isPaced
          ? await this.#runner.run(() => stage.handleTogether(places, this.signal))
          : "left";
      if (outcome === "done") for (const place of places) this.#progress.done(offsetOf(place));
      if (outcome === "fenced") this.fence();
      for (const place of outcome === "left" ? places : []) {
        await stage.ready(this.#context.clock, this.signal);
        if (!this.#stopped) await this.#admit(place.batch, offsetOf(place), offsetOf(place) + 1);
      }
    }
  }

  /** In ordered mode, redriven messages come between two live ones, and a pause is waited for. */
  async #untilTurn(): Promise<void> {
    if (this.consumer.mode !== "ordered") return;
    if (this.redriven.waitsForTurn) await this.redriven.handleInTurn();
    if (this.pause.isOn) await this.pause.over();
  }

  /** Hands a batch's records over, those from `from` to `to` that are not done yet, waiting for room before each. */
  async #admit(batch: ReadBatch, from: number, to = Number.POSITIVE_INFINITY): Promise<void> {
    const end = Math.min(batch.count, to - batch.baseOffset);
    for (let index = Math.max(0, from - batch.baseOffset); index < end && !this.#stopped; index += 1) {
      const offset = batch.baseOffset + index;
      if (this.#progress.isDone(offset)) continue;
      if (this.#dropped?.isDue(offset) === true && (await this.#dropped.pass(offset)) > offset) continue;
      if (this.redriven.waitsForTurn || this.pause.isOn) await this.#untilTurn();
      if (offset >= this.#reserve.end) await this.#reserveMore(offset + 1);
      if (this.#suspectTo > 0) await this.#untilSuspectsAreOver(offset);
      if (this.#stopped) return;
      const isAlone = this.consumer.batching !== undefined && this.expiry.concerns(batch, index);
      const over =
        offset < this.#suspectTo ? this.#runner.addSuspect(batch, index) : this.#runner.add(batch, index, isAlone);
      if (over !== undefined) await over;
      else if (this.#runner.isFull) await this.#waitForRoom();
      if (turns.isOver) await turns.next();
    }
  }

  /** Waits until no message that saw processes end is in hand. Those behind others of their keys hold up nobody. */
  async #untilSuspectsAreOver(offset: number): Promise<void> {
    await this.pause.over();
    await this.#runner.lone.over();
    if (this.#stopped || offset < this.#suspectTo) return;
    // Behind the last one it goes on as usual.
    this.#suspectTo = 0;
    // They are not to be handed over again if this one ends the process, too.
    await this.#write();
  }

  /** Notes that a message which saw processes end is about to be handed over; gives which attempt that is. */
  async #note(offset: number): Promise<number | "fenced" | "stopped"> {
    // Those before it are not to be handed over again if this one ends the process, too.
    await this.#write();
    if (this.#stopped) return "stopped";
    return await this.#keeper.handOut(offset, 1 + toleratedCrashes(this.consumer));
  }

  async #waitForRoom(): Promise<void> {
    while (this.#runner.isFull && !this.#stopped) await this.#wake.wait(60_000);
  }

  #insist<Result>(what: string, call: () => Promise<Result>): Promise<Result | "stopped"> {
    return insist(what, { ...this.#context, signal: this.signal }, call, this.#names());
  }

  #names(): { topic: string; group: string; partition: number } {
    return { topic: this.entry.name, group: this.consumer.group, partition: this.partition };
  }
}
