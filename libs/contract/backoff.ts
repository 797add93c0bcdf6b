import { type Duration, parseDurationMs } from "@sluice/kernel";

/** How long to wait before the attempt after number `attempt` (1 for the first retry), in milliseconds. */
export interface Backoff {
  /** `random` is from 0 to 1. */
  delayMs(attempt: number, random: number): number;
  /** What is wrong with the durations it was made of; empty when nothing is. */
  readonly problems: readonly string[];
}

/**
 * Doubles from `first` up to `longest`, with full jitter: each wait is drawn evenly from 0 to the bound, so that what
 * failed together does not come back together (Marc Brooker, "Exponential Backoff And Jitter", AWS, 2015).
 */
export function exponential(first: Duration, longest: Duration): Backoff {
  const [firstMs, longestMs] = [parseDurationMs(first), parseDurationMs(longest)];
  return {
    problems: durationProblems([first, longest]),
    delayMs: (attempt, random) => Math.min(longestMs ?? 0, (firstMs ?? 0) * 2 ** Math.min(attempt - 1, 52)) * random,
  };
}

/** The same wait before every retry, without jitter. */
export function fixed(wait: Duration): Backoff {
  const waitMs = parseDurationMs(wait);
  return { problems: durationProblems([wait]), delayMs: () => waitMs ?? 0 };
}

/** One wait after the other, the last one repeated: `intervals("1s", "10s", "1m")`. */
export function intervals(first: Duration, ...rest: Duration[]): Backoff {
  const waitsMs = [first, ...rest].map((wait) => parseDurationMs(wait) ?? 0);
  return {
    problems: durationProblems([first, ...rest]),
    delayMs: (attempt) => waitsMs[Math.min(attempt, waitsMs.length) - 1] ?? 0,
  };
}

function durationProblems(durations: readonly Duration[]): string[] {
  return durations
    .filter((duration) => parseDurationMs(duration) === undefined)
    .map((duration) => `${JSON.stringify(duration)} is not a duration such as "1s" or "5m"`);
}
