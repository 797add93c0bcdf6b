const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;

type Unit = keyof typeof unitMs;

/** The longest span of time, 100 years: what is longer is a mistake, and neither a timer nor the database could take it. */
const longestMs = 36_525 * unitMs.d;

/** A span of time up to 100 years: `"250ms"`, `"1.5s"`, `"5m"`, `"12h"`, `"7d"`, `"2w"`, or a number of milliseconds. */
export type Duration = number | `${number}${Unit}`;

/**
 * A duration in whole milliseconds; `undefined` when it is negative, longer than 100 years, or not of the form above.
 *
 * @example
 * parseDurationMs("1.5s") // 1500
 */
export function parseDurationMs(duration: unknown): number | undefined {
  const ms = typeof duration === "number" ? duration : spelledMs(duration);
  return ms >= 0 && ms <= longestMs ? Math.round(ms) : undefined;
}

/** NaN for what is not spelled as one. */
function spelledMs(duration: unknown): number {
  const match = typeof duration === "string" ? /^(\d+(?:\.\d+)?)(ms|s|m|h|d|w)$/.exec(duration) : null;
  return match === null ? Number.NaN : Number(match[1]) * unitMs[match[2] as Unit];
}
