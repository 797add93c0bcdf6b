import type { AnyTopic } from "@sluice/contract";

/**
 * Calls whose records are not taken at once: their topic is not open yet, they ask for a group first, or there is no room. What is sent to one
 * topic is taken in the order in which it was sent all the same, and whoever flushes waits for those calls, too.
 */
export class Entrance {
  /** By topic, until the last call in its line has entered. */
  readonly #lines = new Map<AnyTopic, Promise<void>>();
  readonly #pending = new Set<Promise<unknown>>();

  /** Whether calls of the topic wait, so that the next one must wait behind them. */
  hasLine(topic: AnyTopic): boolean {
    return this.#lines.has(topic);
  }

  /**
   * Waits until those before it have entered, and then enters.
   *
   * @param ready what the call waits for by itself; begun already, so that calls in line do that side by side
   * @param enter takes its records, or begins to wait for room
   */
  pass<Ready, Result>(
    topic: AnyTopic,
    ready: Promise<Ready>,
    enter: (ready: Ready) => Result | Promise<Result>,
  ): Promise<Result> {
    const before = this.#lines.get(topic);
    const line = Promise.withResolvers<void>();
    this.#lines.set(topic, line.promise);
    // Its failure is heard of in its turn.
    ready.catch(() => undefined);
    const passing = (async () => {
      let result: Result | Promise<Result>;
      try {
        await before;
        result = enter(await ready);
      } finally {
        if (this.#lines.get(topic) === line.promise) this.#lines.delete(topic);
        line.resolve();
      }
      return await result;
    })();
    this.#pending.add(passing);
    const forget = () => this.#pending.delete(passing);
    passing.then(forget, forget);
    return passing;
  }

  /** Resolves when the calls that were made so far have their outcome. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#pending);
  }
}
