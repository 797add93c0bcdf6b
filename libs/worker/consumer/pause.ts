import type { Clock } from "@sluice/kernel";

/** Waits, but not past the first abort. */
export function pause(clock: Clock, delayMs: number, ...signals: readonly AbortSignal[]): Promise<void> {
  if (signals.some(({ aborted }) => aborted)) return Promise.resolve();
  return new Promise((resolve) => {
    const end = () => {
      cancel();
      for (const signal of signals) signal.removeEventListener("abort", end);
      resolve();
    };
    const cancel = clock.after(delayMs, end);
    for (const signal of signals) signal.addEventListener("abort", end);
  });
}
