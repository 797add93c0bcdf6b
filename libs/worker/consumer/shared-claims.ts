import type { ClaimedMessages, TakenRetry } from "@sluice/broker";
import { type Clock, type Logger, Signal, toError } from "@sluice/kernel";
import { ClaimSource } from "./claim-source.ts";
import { pause } from "./pause.ts";

/** No longer than this is not looked for what is due. */
const lookMs = 500;
const failurePauseMs = 500;

/** What the taking of messages works with. */
export interface SharedClaimsContext {
  readonly member: number;
  /** The messages that failed, and those that were redriven. */
  readonly failed: ClaimedMessages;
  readonly redriven: ClaimedMessages;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly names: Readonly<Record<string, unknown>>;
  /** Aborted when a pause after a failure is not waited for any more. */
  readonly signal: AbortSignal;
  /** The group's positions in the topic; none: they are not known yet. */
  readonly positions: () => readonly number[];
  /** How many may be taken at present. */
  readonly room: () => number;
  /** Hands one over that was taken in hand. */
  readonly handOver: (messages: ClaimedMessages, taken: TakenRetry) => void;
}

/**
 * Takes messages of a shared group in hand once more, when they are due: those that failed and those that were redriven. Beside the
 * leasing of new ones, which waits for room of its own.
 */
export class SharedClaims {
  readonly #context: SharedClaimsContext;
  readonly #failed: ClaimSource;
  readonly #redriven: ClaimSource;
  readonly #wake = new Signal();
  readonly #run: Promise<void>;
  #stopped = false;

  constructor(context: SharedClaimsContext) {
    this.#context = context;
    this.#failed = new ClaimSource(context.failed, lookMs, false);
    this.#redriven = new ClaimSource(context.redriven, lookMs, true);
    this.#run = this.#live();
  }

  /** One that failed is due in so many milliseconds. */
  ringFailed(inMs = 0): void {
    this.#failed.ring(inMs);
    this.wake();
  }

  /** The same for one that was redriven. */
  ringRedriven(inMs = 0): void {
    this.#redriven.ring(inMs);
    this.wake();
  }

  /** There may be room again. */
  wake(): void {
    this.#wake.raise();
  }

  /** Takes nothing any more. */
  halt(): void {
    this.#stopped = true;
    this.wake();
  }

  /** Resolves when nothing is being taken any more, after {@link halt}. */
  async idle(): Promise<void> {
    await this.#run;
  }

  async #live(): Promise<void> {
    const { clock, logger, names, signal } = this.#context;
    while (!this.#stopped) {
      try {
        for (const source of [this.#redriven, this.#failed]) if (this.#isDue(source)) await this.#takeFrom(source);
        if (!this.#stopped) await this.#wake.wait(this.#restMs);
      } catch (error) {
        const what = "taking messages in hand once more failed and is tried again";
        logger.log("warn", what, { ...names, error: toError(error) });
        await pause(clock, failurePauseMs, signal);
      }
    }
  }

  #isDue(source: ClaimSource): boolean {
    return !this.#stopped && this.#mayTake && performance.now() >= source.at;
  }

  get #mayTake(): boolean {
    return this.#context.room() > 0 && this.#context.positions().length > 0;
  }

  /** While there is no room, what is due has to wait for some. */
  get #restMs(): number {
    if (!this.#mayTake) return lookMs;
    const inMs = Math.min(this.#failed.at, this.#redriven.at) - performance.now();
    return Math.max(1, Math.min(lookMs, inMs));
  }

  async #takeFrom(source: ClaimSource): Promise<void> {
    const { member, positions, room, handOver } = this.#context;
    const taken = await source.take(member, positions(), room());
    for (const one of taken) handOver(source.messages, one);
  }
}
