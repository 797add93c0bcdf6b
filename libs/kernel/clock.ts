/** Where time comes from. Production uses {@link systemClock}; tests hand in one that they move by hand. */
export interface Clock {
  /** Milliseconds since 1970, for people. Never used to decide who owns what: leases use the database's clock. */
  now(): number;
  /** Calls back once after `delayMs`; the result cancels it. */
  after(delayMs: number, callback: () => void): () => void;
}

/** The longest that a timer of JavaScript waits, 24.8 days; asked for more, it does not wait at all. */
const longestTimerMs = 2 ** 31 - 1;

/** The machine's clock and timers. */
export const systemClock: Clock = {
  now: () => Date.now(),
  after(delayMs, callback) {
    let timer: ReturnType<typeof setTimeout>;
    const wait = (leftMs: number) => {
      timer =
        leftMs > longestTimerMs
          ? setTimeout(() => wait(leftMs - longestTimerMs), longestTimerMs)
          : setTimeout(callback, leftMs);
    };
    wait(delayMs);
    return () => clearTimeout(timer);
  },
};
