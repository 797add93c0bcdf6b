import type { OffsetRange } from "@sluice/broker";
import type { ReadResult } from "@sluice/log";

/** What lies between the records that a filter let through, from `from` to where the read ended. */
export function passedOver(result: ReadResult, from: number): readonly OffsetRange[] {
  const ranges: OffsetRange[] = [];
  let at = from;
  for (const { baseOffset, matches = [] } of result.batches) {
    for (const index of matches) {
      const offset = baseOffset + index;
      if (offset > at) ranges.push([at, offset]);
      at = offset + 1;
    }
  }
  if (result.next > at) ranges.push([at, result.next]);
  return ranges;
}
