interface Waiting<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

/** Makes one call for many: while one is under way, what comes is gathered for the next. */
export class GatheredCalls<Item, Result> {
  readonly #call: (items: readonly Item[]) => Promise<readonly Result[]>;
  readonly #limit: number;
  #waiting: Waiting<Item, Result>[] = [];
  #isCalling = false;

  /**
   * @param call answers with one result per item, in order
   * @param limit items of one call at most
   */
  constructor(limit: number, call: (items: readonly Item[]) => Promise<readonly Result[]>) {
    this.#limit = limit;
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
    while (this.#waiting.length > 0) {
      const taken = this.#waiting.splice(0, this.#limit);
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
