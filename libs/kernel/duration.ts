const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;

type Unit = keyof typeof unitMs;

/** A span of time: `"250ms"`, `"1.5s"`, `"5m"`, `"12h"`, `"7d"`, `"2w"`, or a number of milliseconds. */
export type Duration = number | `${number}${Unit}`;

/**
 * A duration in whole milliseconds; `undefined` when it is negative, not finite, or not of the form above.
 *
 * @example
 * parseDurationMs("1.5s") // 1500
 */
export function parseDurationMs(duration: unknown): number | undefined {
  if (typeof duration === "number")
    return Number.isFinite(duration) && duration >= 0 ? Math.round(duration) : undefined;
  if (typeof duration !== "string") return undefined;
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d|w)$/.exec(duration);
  if (match === null) return undefined;
  return Math.round(Number(match[1]) * unitMs[match[2] as Unit]);
}
