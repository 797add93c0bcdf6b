/** From the first offset up to, but not including, the second. */
export type OffsetRange = readonly [from: number, to: number];

/** `{[3,5),[7,8)}` as ranges. */
export function parseMultirange(text: string): OffsetRange[] {
  return [...text.matchAll(/\[(\d+),(\d+)\)/g)].map((match): OffsetRange => [Number(match[1]), Number(match[2])]);
}

/** Ranges as Postgres's int8multirange. */
export function multirangeText(ranges: readonly OffsetRange[]): string {
  return `{${ranges.map(([from, to]) => `[${from},${to})`).join(",")}}`;
}
