/** Keys that are remembered before those are forgotten that have not reached their limit. */
const mostKeys = 10_000;

/** A rate limit of one process alone, with the arithmetic of sluice.reserve_pace. */
export class LocalPace {
  /** The time of the next message that nobody has reserved yet, by key. */
  readonly #nextAt = new Map<string, number>();

  /** Reserves `count` messages, one every `intervalMs`; gives in how many milliseconds the first may go. */
  reserve(_group: number, _topic: number, key: string, count: number, intervalMs: number): Promise<number> {
    const now = performance.now();
    if (this.#nextAt.size >= mostKeys) {
      for (const [idle, nextAt] of this.#nextAt) if (nextAt <= now) this.#nextAt.delete(idle);
    }
    const at = Math.max(this.#nextAt.get(key) ?? now, now);
    this.#nextAt.set(key, at + count * intervalMs);
    return Promise.resolve(at - now);
  }
}
