import type { RedrivenMessages, SettleOutcome } from "@sluice/broker";
import { type Clock, type Logger, SluiceError, toError } from "@sluice/kernel";
import { type DeliveryOwner, deliver, type Outcome } from "./delivery.ts";
import { type Failure, failureText, measureOf } from "./failure.ts";
import { insist } from "./insist.ts";
import type { KeyedQueue } from "./keyed-queue.ts";
import { pause } from "./pause.ts";
import { RedrivenOwner, RedrivenTask } from "./redriven-owner.ts";

/** The partition that redriven messages come back to. */
export interface RedrivenHome extends DeliveryOwner {
  /** Resolves when the partition is not paused, with whether anything may still be begun. */
  mayBegin(): Promise<boolean>;
  /** Does work that the partition's stop waits for. */
  run<Result>(work: () => Promise<Result>): Promise<Result>;
  /** Wakes the reader: it asks {@link RedrivenSource.waitsForTurn}. */
  wake(): void;
  fence(): void;
}

/** What a source works with. */
export interface RedrivenContext {
  readonly redriven: RedrivenMessages;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Messages in memory at most, beside the consumer's `prefetch`. */
const most = 256;

/** What it needs of the queue of live messages, where redriven ones take their turn in keyed mode. */
type RedrivenQueue = Pick<KeyedQueue<RedrivenTask>, "add" | "finished" | "putOff" | "resume">;

type Next = "over" | "give-up" | { readonly delayMs: number };

/**
 * Redriven messages of one position, beside the log: hands them to the consumer's handler, in keyed mode through the queue
 * of the live ones, so that a key never has two at once, in ordered mode between two live ones. Attempts are counted in the
 * database before they are made. One that is done is deleted before the next of its key may run; one that fails for the
 * last time is a dead letter again, whatever `onExhausted` says, unless that is `"drop"`.
 */
export class RedrivenSource {
  readonly #context: RedrivenContext;
  readonly #home: RedrivenHome;
  readonly #queue: RedrivenQueue;
  readonly #isOrdered: boolean;
  /** What is in the queue or in a handler, by number. */
  readonly #taken = new Set<number>();
  #isRung = false;
  #hasMore = false;
  #feeding: Promise<void> | undefined;

  constructor(context: RedrivenContext, home: RedrivenHome, queue: RedrivenQueue) {
    this.#context = context;
    this.#home = home;
    this.#queue = queue;
    this.#isOrdered = home.consumer.mode === "ordered";
  }

  /** There may be something: a doorbell said so, or a look at the database. */
  ring(): void {
    this.#isRung = true;
    if (this.#isOrdered) this.#home.wake();
    else this.#feeding ??= this.#feed();
  }

  /** Ordered mode: whether {@link handleInTurn} is to be called before the next live message. */
  get waitsForTurn(): boolean {
    return this.#isOrdered && this.#isRung;
  }

  /** Ordered mode: handles what waits, one after the other. Never rejects. */
  async handleInTurn(): Promise<void> {
    while (this.waitsForTurn) {
      this.#isRung = false;
      const tasks = await this.#look(most);
      if (tasks.length === most) this.#isRung = true;
      for (const task of tasks) if (!(await this.#untilOver(task))) return;
    }
  }

  /** Keyed mode: the queue says that it is a task's turn. */
  begin(task: RedrivenTask): void {
    void this.#home
      .run(() => this.#attempt(task))
      .then((next) => {
        if (next === "give-up") return;
        if (next !== "over") {
          this.#queue.putOff(task);
          void pause(this.#context.clock, next.delayMs, this.#home.signal).then(() => this.#queue.resume(task));
          return;
        }
        this.#taken.delete(task.number);
        this.#queue.finished(task);
        if (this.#hasMore && this.#taken.size <= most / 2) this.ring();
      });
  }

  /** Resolves when it asks the database for nothing any more; after the partition was stopped. */
  async idle(): Promise<void> {
    await this.#feeding;
  }

  async #feed(): Promise<void> {
    while (this.#isRung && this.#taken.size < most && !this.#home.signal.aborted) {
      this.#isRung = false;
      const room = most - this.#taken.size;
      const tasks = await this.#look(room);
      this.#hasMore = tasks.length === room;
      for (const task of tasks) {
        this.#taken.add(task.number);
        this.#queue.add(task);
      }
    }
    // In the same turn as the look at the ring, or one in between would be lost.
    this.#feeding = undefined;
  }

  /** A look that fails is made again: the next survey rings while there is something. */
  async #look(limit: number): Promise<readonly RedrivenTask[]> {
    try {
      const messages = await this.#context.redriven.waiting(this.#home.position, limit, this.#taken);
      return messages.map((message) => new RedrivenTask(message));
    } catch (error) {
      this.#context.logger.log("warn", "looking for redriven messages failed and is tried again", {
        ...this.#names(),
        error: toError(error),
      });
      return [];
    }
  }

  /** Whether the next may follow. */
  async #untilOver(task: RedrivenTask): Promise<boolean> {
    for (;;) {
      if (!(await this.#home.mayBegin())) return false;
      const next = await this.#home.run(() => this.#attempt(task));
      if (next === "over") return true;
      if (next === "give-up") return false;
      await pause(this.#context.clock, next.delayMs, this.#home.signal);
    }
  }

  async #attempt(task: RedrivenTask): Promise<Next> {
    const { redriven } = this.#context;
    const next = task.attempts + 1;
    const attempt = await this.#insist("counting an attempt", () => redriven.begin(this.#home, task.number, next));
    if (attempt === "stopped") return "give-up";
    if (attempt === "gone") return "over";
    if (attempt === "fenced") return this.#fenced();
    task.attempts = attempt;
    const owner = new RedrivenOwner(this.#home, task.number, async () => {
      if ((await redriven.done(this.#home, task.number)) !== "fenced") return;
      this.#home.fence();
      throw new SluiceError("FENCED", "the message was not settled: the partition has another owner");
    });
    const outcome: Outcome =
      attempt > this.#home.consumer.attempts
        ? { kind: "failed", error: new Error("the process that handled it ended before it was done, each time") }
        : await deliver(owner, task.batch, 0, attempt);
    if (outcome.kind === "fenced") return this.#fenced();
    if (owner.isSettled) return "over";
    if (outcome.kind === "done") return await this.#settle(() => redriven.done(this.#home, task.number));
    // Stopped in the middle: no verdict; the next owner hands it over again.
    if (this.#home.signal.aborted) return "give-up";
    return await this.#afterFailure(task, attempt, outcome);
  }

  async #afterFailure(task: RedrivenTask, attempt: number, failure: Failure): Promise<Next> {
    const { consumer, partition, services } = this.#home;
    const { redriven, logger } = this.#context;
    const counted = Math.min(attempt, consumer.attempts);
    const place = { consumer, partition, offset: task.batch.baseOffset, attempt: counted, logger };
    const measure = measureOf(failure, place);
    if (measure.kind === "again") {
      const uncount = () => redriven.uncount(this.#home, task.number, attempt);
      if (!measure.counts) {
        await this.#insist("giving a redriven message back", uncount);
        task.attempts = attempt - 1;
      }
      return { delayMs: measure.delayMs };
    }
    // Whoever handed it over again is not to find the partition paused.
    const reason = measure.kind !== "pause" ? measure.reason : failure.kind === "misfit" ? "schema" : "exhausted";
    const death = { reason, error: failureText(failure), attempts: counted } as const;
    const next = await this.#settle(() =>
      measure.kind === "drop" ? redriven.done(this.#home, task.number) : redriven.bury(this.#home, task.number, death),
    );
    if (next === "over") await services.answers.refuse(consumer, task.batch, 0, reason, this.#home.signal);
    return next;
  }

  async #settle(write: () => Promise<SettleOutcome>): Promise<Next> {
    const outcome = await this.#insist("settling a redriven message", write);
    if (outcome === "stopped") return "give-up";
    return outcome === "fenced" ? this.#fenced() : "over";
  }

  #fenced(): "give-up" {
    this.#home.fence();
    return "give-up";
  }

  #insist<Result>(what: string, write: () => Promise<Result>): Promise<Result | "stopped"> {
    return insist(what, { ...this.#context, signal: this.#home.signal }, write, this.#names());
  }

  #names(): { topic: string; group: string; partition: number } {
    const { consumer, partition } = this.#home;
    return { topic: consumer.topic.name, group: consumer.group, partition };
  }
}
