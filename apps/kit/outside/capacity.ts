/** What somebody outside can be asked for: so many things at once, of which each takes so long. */
export class Capacity {
  readonly #stepMs: number;
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor({ atOnce, stepMs }: { readonly atOnce: number; readonly stepMs: number }) {
    this.#free = atOnce;
    this.#stepMs = stepMs;
  }

  /**
   * Does the work as soon as there is a place for it, first come first served, and keeps the place for the step's time.
   *
   * Fails with the signal's reason when its caller has gone before it began: nobody works for who has hung up.
   */
  async use<Result>(work: () => Promise<Result>, signal: AbortSignal): Promise<Result> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      signal.throwIfAborted();
      const [result] = await Promise.all([work(), Bun.sleep(this.#stepMs)]);
      return result;
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}
