import { type AnyConsumer, type HoursPace, type OpenWindow, openWindow, type RateLimit } from "@sluice/contract";

/** How a consumer goes until that changes. Every process of its group finds the same at the same time. */
export interface PaceEra {
  /** Whether nothing is handed over, because of the hours. */
  readonly isClosed: boolean;
  readonly concurrency: number;
  /** `undefined`: as fast as it can. */
  readonly limit: RateLimit | undefined;
  /** Since when the limit holds, in milliseconds since 1970, by the database's clock. */
  readonly sinceMs: number;
  /** Aborted when another one is in force. */
  readonly over: AbortSignal;
}

/** What is being let go at a rate. */
export interface Release {
  readonly messages: number;
  readonly perMs: number;
  readonly atMs: number;
}

/**
 * What one consumer of a process goes by at present: what it declares, the window of its hours that is open, and the rate at which
 * what had gathered is let go, which takes the place of both limits but opens nothing that is closed.
 */
export class PaceInForce {
  readonly #consumer: AnyConsumer;
  #open: OpenWindow | undefined;
  #release: Release | undefined;
  /** When the limit last became the consumer's own again. */
  #releaseEndedAtMs = 0;
  #over = new AbortController();
  #era: PaceEra;

  constructor(consumer: AnyConsumer) {
    this.#consumer = consumer;
    this.#era = this.#next();
  }

  get era(): PaceEra {
    return this.#era;
  }

  /** The window that is open, as of the last look; `undefined` for a consumer without hours, and before the first look. */
  get open(): OpenWindow | undefined {
    return this.#open;
  }

  /** The name of the window; `null`: none is open. */
  get windowName(): string | null {
    const window = this.#open?.window;
    return window === undefined ? null : (this.#consumer.hours?.windows[window]?.name ?? null);
  }

  /** It is this time, by the database's clock. Gives whether another window is open than before. */
  at(nowMs: number): boolean {
    const { hours } = this.#consumer;
    const open = this.#open;
    if (hours === undefined || (open !== undefined && nowMs >= open.sinceMs && nowMs < open.untilMs)) return false;
    this.#open = openWindow(hours, nowMs);
    this.#change();
    return true;
  }

  /** What had gathered goes at this rate, or at none of its own. Gives whether that is news. */
  heedRelease(release: Release | undefined): boolean {
    const before = this.#release;
    if (before?.atMs === release?.atMs) return false;
    // Later than what was reserved under that rate, and the same for all who saw it.
    if (release === undefined) this.#releaseEndedAtMs = (before?.atMs ?? 0) + 1;
    this.#release = release;
    this.#change();
    return true;
  }

  #change(): void {
    const over = this.#over;
    this.#over = new AbortController();
    this.#era = this.#next();
    over.abort();
  }

  #next(): PaceEra {
    const { hours, concurrency, rateLimit } = this.#consumer;
    const pace = this.#paceOfHours();
    const release = this.#release;
    return {
      isClosed: hours !== undefined && (this.#open === undefined || pace === undefined),
      concurrency: pace?.concurrency ?? concurrency,
      limit:
        release === undefined ? (pace?.rateLimit ?? rateLimit) : { messages: release.messages, per: release.perMs },
      sinceMs: Math.max(this.#open?.sinceMs ?? 0, release?.atMs ?? 0, this.#releaseEndedAtMs),
      over: this.#over.signal,
    };
  }

  #paceOfHours(): HoursPace | undefined {
    const { hours } = this.#consumer;
    const window = this.#open?.window;
    return window === undefined ? hours?.otherwise : hours?.windows[window]?.pace;
  }
}
