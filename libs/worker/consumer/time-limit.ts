import { type Clock, SluiceError } from "@sluice/kernel";

/** How long one handing-over may take, and the signal that tells the handler of its end. Made only for consumers with a `timeout`. */
export class TimeLimit {
  readonly #clock: Clock;
  readonly #outer: AbortSignal;
  readonly #expired = Promise.withResolvers<never>();
  #endsAt: number;
  #cancel: () => void;
  /** Made when somebody asks for the signal. */
  #controller: AbortController | undefined;
  #error: SluiceError | undefined;

  /** @param outer aborted when the partition is taken away */
  constructor(clock: Clock, limitMs: number, outer: AbortSignal) {
    this.#clock = clock;
    this.#outer = outer;
    this.#endsAt = performance.now() + limitMs;
    this.#cancel = clock.after(limitMs, () => this.#expire(limitMs));
    // A handler that ends in time leaves nobody to hear of it.
    this.#expired.promise.catch(() => undefined);
  }

  /** Whether the time was over before {@link end}. */
  get isOver(): boolean {
    return this.#error !== undefined;
  }

  /** Aborted when the time is over, and when the partition is taken away. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#error !== undefined) this.#controller.abort(this.#error);
      else if (this.#outer.aborted) this.#abort();
      else this.#outer.addEventListener("abort", this.#abort);
    }
    return this.#controller.signal;
  }

  /** At least this long from now on. */
  extend(durationMs: number): void {
    const endsAt = performance.now() + durationMs;
    if (endsAt <= this.#endsAt) return;
    this.#endsAt = endsAt;
    this.#cancel();
    this.#cancel = this.#clock.after(durationMs, () => this.#expire(durationMs));
  }

  /** As `running`, or rejects with HANDLER_TIMEOUT when the time is over first; what becomes of it then is nobody's affair. */
  bound<Result>(running: PromiseLike<Result>): Promise<Result> {
    return Promise.race([running, this.#expired.promise]);
  }

  /** The handler has ended. */
  end(): void {
    this.#cancel();
    this.#outer.removeEventListener("abort", this.#abort);
  }

  readonly #abort = (): void => {
    this.#controller?.abort(this.#outer.reason);
  };

  #expire(limitMs: number): void {
    // Set first: a verb that is called because of the abort comes too late.
    this.#error = new SluiceError(
      "HANDLER_TIMEOUT",
      `the handler did not end within its time limit (${limitMs} ms since it began or last asked for more); the attempt has failed`,
    );
    this.#expired.reject(this.#error);
    this.#controller?.abort(this.#error);
  }
}
