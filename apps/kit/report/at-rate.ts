/** How {@link atRate} asks. */
export interface RateOptions {
  readonly count: number;
  readonly perSecond: number;
  /** Ends it: what was not begun yet is not begun. */
  readonly signal?: AbortSignal;
}

/** One answer, and how long it took from the moment at which the question was due to the whole answer. */
export interface Timed<Result> {
  readonly result: Result;
  readonly tookMs: number;
}

/**
 * Calls `work` at a fixed rate, whether or not the answers keep up: a slow answer must not thin out the load that it is
 * measured under, and what is asked late, because the machine is busy, counts from when it was due. Resolves with all
 * answers in order once the last one is there.
 *
 * Fails with the first failure of `work`, or with the signal's reason; what may go wrong should therefore be an answer.
 *
 * @example
 * const answers = await atRate({ count: 200, perSecond: 80 }, async () => (await fetch(url)).status);
 */
export async function atRate<Result>(
  { count, perSecond, signal }: RateOptions,
  work: (index: number) => Promise<Result>,
): Promise<Timed<Result>[]> {
  const startedAt = performance.now();
  const failed = new AbortController();
  const stop = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal]);
  const asked: Promise<Timed<Result>>[] = [];
  const ask = async (index: number, dueAt: number) => {
    const result = await work(index);
    return { result, tookMs: performance.now() - dueAt };
  };
  while (asked.length < count) {
    const dueAt = startedAt + (asked.length * 1_000) / perSecond;
    const earlyMs = dueAt - performance.now();
    // One timer for all; whatever is due by then is asked at once.
    if (earlyMs > 0 || stop.aborted) await pause(earlyMs, stop);
    const one = ask(asked.length, dueAt);
    one.catch((error: unknown) => failed.abort(error));
    asked.push(one);
  }
  return Promise.all(asked);
}

/** Waits; fails with the signal's reason as soon as it is aborted. */
export function pause(forMs: number, signal?: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onAbort = () => reject(signal?.reason);
  const timer = setTimeout(resolve, Math.max(0, forMs));
  signal?.addEventListener("abort", onAbort, { once: true });
  if (signal?.aborted === true) onAbort();
  return promise.finally(() => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  });
}

/**
 * Asks until `holds`, every 50 ms. Resolves with false when `deadlineMs` are over: that is a finding for a claim, and no
 * failure. Fails with the signal's reason when it is aborted.
 */
export async function until(
  holds: () => Promise<boolean> | boolean,
  deadlineMs: number,
  signal?: AbortSignal,
): Promise<boolean> {
  const endsAt = performance.now() + deadlineMs;
  for (;;) {
    if (await holds()) return true;
    if (performance.now() >= endsAt) return false;
    await pause(50, signal);
  }
}
