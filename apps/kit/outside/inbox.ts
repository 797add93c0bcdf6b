/** What a provider on this machine received: the newest 10,000 by default, so that it cannot fill the memory. */
export class Inbox<Item> {
  readonly #items: Item[] = [];
  readonly #listeners = new Set<() => void>();
  readonly #most: number;

  constructor(most = 10_000) {
    this.#most = most;
  }

  /** Oldest first. */
  get items(): readonly Item[] {
    return this.#items;
  }

  /** Keeps the item, drops the oldest if there are too many, and wakes who waits. */
  add(item: Item): void {
    this.#items.push(item);
    if (this.#items.length > this.#most) this.#items.shift();
    for (const listener of this.#listeners) listener();
  }

  /** Waits until `holds` is true of what has arrived, and resolves with `false` if it is not after `deadlineMs`. */
  until(holds: (items: readonly Item[]) => boolean, deadlineMs: number): Promise<boolean> {
    if (holds(this.#items)) return Promise.resolve(true);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const listener = () => {
      if (holds(this.#items)) resolve(true);
    };
    const timer = setTimeout(() => resolve(false), deadlineMs);
    this.#listeners.add(listener);
    return promise.finally(() => {
      clearTimeout(timer);
      this.#listeners.delete(listener);
    });
  }
}
