const mostRecords = 1_000;
const quickMs = 100;
const slowMs = 1_000;

/**
 * How many messages to lease at once: as many as are handled in a moment, so that a slow handler's members share even a short queue
 * and a quick one's round trips are few. Begins low, doubles while ranges are quick, halves when one was slow.
 */
export class RangeSize {
  #records: number;

  /** @param first what to begin with: as many as are in the handler at once */
  constructor(first: number) {
    this.#records = Math.min(mostRecords, first);
  }

  get records(): number {
    return this.#records;
  }

  /** A range of so many records took so long from its lease to its end. */
  completed(records: number, tookMs: number): void {
    if (tookMs > slowMs) this.#records = Math.max(1, this.#records >> 1);
    else if (tookMs < quickMs && 2 * records >= this.#records) this.#records = Math.min(mostRecords, this.#records * 2);
  }
}
