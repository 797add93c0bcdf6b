import type { AnyConsumer } from "@sluice/contract";
import type { Outcome } from "./delivery.ts";
import { blocksOf } from "./kept-batch.ts";
import type { PutOffMessages } from "./put-off-messages.ts";
import type { Task } from "./task.ts";

/** Handlers that take longer than this on average are not quick. */
const quickMs = 20;

/**
 * Counts the attempts of messages that were put off, and lends their places meanwhile. An attempt is counted when its message has a
 * place, for what waits has not been handed over; but the database takes a while, and where handlers end at once a few hundred retries a
 * second would hold every place of a partition by that alone. So where handlers are quick, a message gives its place to others while it is
 * counted and gets the next one before them. Where they are not, it keeps its place: it might wait for another one for long, and be counted
 * for nothing if the process were killed.
 */
export class LentPlaces {
  readonly #messages: PutOffMessages;
  readonly #consumer: AnyConsumer;
  /** Aborted when the partition is no longer this process's. */
  readonly #signal: AbortSignal;
  /** How long the handlers of such messages take, on average of the last few. */
  #tookMs = Number.POSITIVE_INFINITY;
  #lent = 0;
  /** Counted, and waiting for the next place. */
  readonly #counted = new Set<Task>();
  #isStopped = false;

  constructor(messages: PutOffMessages, consumer: AnyConsumer, signal: AbortSignal) {
    this.#messages = messages;
    this.#consumer = consumer;
    this.#signal = signal;
  }

  /** Whether the place of a message that is to be counted may be lent. */
  get mayLend(): boolean {
    return this.#tookMs < quickMs && this.#lent + this.#counted.size < this.#consumer.concurrency;
  }

  /** The handler of such a message took so long. */
  took(ms: number): void {
    this.#tookMs = Number.isFinite(this.#tookMs) ? this.#tookMs + (ms - this.#tookMs) / 8 : ms;
  }

  /**
   * Counts the attempt that is about to be made while others use the message's place. Gives what became of it where none is made;
   * `"given back"`: nothing begins any more, and the attempt does not count.
   */
  async countAside(task: Task): Promise<Outcome | "given back" | undefined> {
    this.#lent += 1;
    const over = await this.#messages.begin(task);
    this.#lent -= 1;
    if (over !== undefined) return over;
    if (!this.#isStopped) {
      this.#counted.add(task);
      return undefined;
    }
    await this.#giveBack(task);
    return "given back";
  }

  /** It has its place, or has it back. */
  begun(task: Task): void {
    this.#counted.delete(task);
  }

  /** Nothing begins any more. Gives the work that is left: those that wait for a place, counted, are given back, so that the end costs them no attempt. */
  stop(): readonly (() => Promise<void>)[] {
    this.#isStopped = true;
    return this.#signal.aborted ? [] : [...this.#counted].map((task) => () => this.#giveBack(task));
  }

  async #giveBack(task: Task): Promise<void> {
    this.#counted.delete(task);
    if (!this.#signal.aborted) await this.#messages.giveBack(task, blocksOf(this.#consumer, task.key));
  }
}
