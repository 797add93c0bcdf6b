/** Where time comes from. Production uses {@link systemClock}; tests hand in one that they move by hand. */
export interface Clock {
  /** Milliseconds since 1970, for people. Never used to decide who owns what: leases use the database's clock. */
  now(): number;
  /** Calls back once after `delayMs`; the result cancels it. */
  after(delayMs: number, callback: () => void): () => void;
}

/** The machine's clock and timers. */
export const systemClock: Clock = {
  now: () => Date.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};
