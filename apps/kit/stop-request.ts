/** How long a program that was asked to stop may take before it ends all the same, with 75. */
const patienceMs = 25_000;

/**
 * Is aborted at the first SIGINT or SIGTERM, or when the standard input ends, if that is what its end means. The second
 * signal ends the process at once; so does a stop that takes too long.
 */
export function stopRequest(stopsWithStdin: boolean): AbortSignal {
  const stop = new AbortController();
  const request = () => {
    if (stop.signal.aborted) return;
    setTimeout(() => process.exit(75), patienceMs).unref();
    stop.abort(new Error("the program was asked to stop"));
  };
  const onSignal = () => {
    if (stop.signal.aborted) process.exit(130);
    request();
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  if (stopsWithStdin) {
    // The other end is held by whoever started this process; the system closes it however that one ends.
    process.stdin.on("end", request).on("error", request).resume();
  }
  return stop.signal;
}

/** Resolves when the signal is aborted. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
