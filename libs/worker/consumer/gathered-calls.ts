interface Waiting<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

/** How much goes into one call. */
export interface GatheringOptions {
  /** Items of one call at most. */
  readonly limit: number;
  /** Between the beginnings of two calls at least, unless more waits than one takes: what is lone goes at once, many go together. */
  readonly everyMs: number;
}

/** Makes one call for many: while one is under way, what comes is gathered for the next. */
export class GatheredCalls<Item, Result> {
  readonly #call: (items: readonly Item[]) => Promise<readonly Result[]>;
  readonly #options: GatheringOptions;
  #waiting: Waiting<Item, Result>[] = [];
  #isCalling = false;
  #nextAt = 0;

  /** @param call answers with one result per item, in order */
  constructor(options: GatheringOptions, call: (items: readonly Item[]) => Promise<readonly Result[]>) {
    this.#options = options;
    this.#call = call;
  }

  /** Resolves with this item's result. Rejects as the call that it went along with. */
  add(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      if (!this.#isCalling) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#isCalling = true;
    // What the same turn adds goes along.
    await Promise.resolve();
    const { limit, everyMs } = this.#options;
    while (this.#waiting.length > 0) {
      const restMs = this.#waiting.length < limit ? this.#nextAt - performance.now() : 0;
      if (restMs > 0) await new Promise<void>((resolve) => setTimeout(resolve, restMs));
      this.#nextAt = performance.now() + everyMs;
      const taken = this.#waiting.splice(0, limit);
      try {
        const results = await this.#call(taken.map(({ item }) => item));
        for (const [index, { resolve }] of taken.entries()) resolve(results[index] as Result);
      } catch (error) {
        for (const { reject } of taken) reject(error);
      }
    }
    this.#isCalling = false;
  }
}
