import type { OwnedPosition, RedrivenMessages } from "@sluice/broker";
import { type Clock, type Deferred, deferred, type Logger } from "@sluice/kernel";
import { errorText } from "./dead-letter.ts";
import { insist } from "./insist.ts";

/** What a pause works with. */
export interface PauseContext {
  readonly redriven: RedrivenMessages;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The partition that is paused. */
interface PausedHome extends OwnedPosition {
  readonly signal: AbortSignal;
  readonly consumer: { readonly group: string; readonly topic: { readonly name: string } };
  readonly partition: number;
}

/** Whether a partition hands messages over, as the database and the consumer's hours say: what comes to be handed over waits here or in its queue. */
export class PartitionPause {
  readonly #context: PauseContext;
  readonly #home: PausedHome;
  readonly #queue: { hold(): void; letGo(): void };
  #closed: Deferred<void> | undefined;
  #isPaused = false;
  #isOutOfHours = false;
  #isRemoved = false;
  #pausedItselfAt: number | undefined;

  constructor(context: PauseContext, home: PausedHome, queue: { hold(): void; letGo(): void }) {
    this.#context = context;
    this.#home = home;
    this.#queue = queue;
  }

  /** What the database says at present. */
  heed(paused: boolean): void {
    if (this.#isRemoved || paused === this.#isPaused) return;
    this.#isPaused = paused;
    const { consumer, partition } = this.#home;
    const what = paused ? "a partition is paused: it hands over nothing until it is resumed" : "a partition is resumed";
    this.#context.logger.log("info", what, { topic: consumer.topic.name, group: consumer.group, partition });
    this.#decide();
  }

  /** Whether the consumer's hours are over at present. */
  heedHours(areOver: boolean): void {
    if (this.#isRemoved || areOver === this.#isOutOfHours) return;
    this.#isOutOfHours = areOver;
    this.#decide();
  }

  get isOn(): boolean {
    return this.#closed !== undefined;
  }

  /** Resolves when the partition is not paused, and its consumer's hours are not over. */
  async over(): Promise<void> {
    while (this.#closed !== undefined) await this.#closed.promise;
  }

  /** Ends it for good: the partition is stopped, and whoever waits is to see that. */
  remove(): void {
    this.#isRemoved = true;
    this.#open();
  }

  /**
   * Pauses the partition in the database on its own behalf, because a message failed for the last time. It is written before
   * the partition halts, so that no survey takes the halt for one that was resumed.
   */
  async pauseItself(offset: number, error: unknown): Promise<"paused" | "fenced" | "stopped"> {
    const reason = `offset ${offset}: ${errorText(error)}`.slice(0, 1_000).toWellFormed();
    const context = { ...this.#context, signal: this.#home.signal };
    const outcome = await insist("pausing a partition", context, () =>
      this.#context.redriven.pause(this.#home, reason),
    );
    this.#pausedItselfAt = performance.now();
    return outcome;
  }

  /** It paused itself before `sinceMs` (of `performance.now()`): when that is resumed, a new term must begin. */
  wasOfItselfBefore(sinceMs: number): boolean {
    return this.#pausedItselfAt !== undefined && this.#pausedItselfAt < sinceMs;
  }

  #decide(): void {
    if (!this.#isPaused && !this.#isOutOfHours) {
      this.#open();
      return;
    }
    this.#closed ??= deferred<void>();
    this.#queue.hold();
  }

  #open(): void {
    this.#closed?.resolve();
    this.#closed = undefined;
    this.#queue.letGo();
  }
}
