import { expect, test } from "bun:test";
import fc from "fast-check";
import { OffsetSet } from "./offset-set.ts";

const unfold = (ranges: readonly (readonly [number, number])[]) =>
  ranges.flatMap(([from, to]) => Array.from({ length: to - from }, (_, index) => from + index));

test("it holds what was added, wherever that lies, and tells it as ranges that lie apart", () => {
  // Words, pages and what no 32 bits can hold, each from both sides.
  const places = fc.constantFrom(0, 31, 32, 4_095, 4_096, 8_191, 8_192, 2 ** 31 - 2, 2 ** 31, 2 ** 40);
  const run = fc.tuple(places, fc.nat(3), fc.constantFrom(1, 2, 32, 100, 5_000));
  fc.assert(
    fc.property(fc.array(run, { maxLength: 6 }), fc.tuple(places, fc.nat(40)), (runs, [place, more]) => {
      const set = new OffsetSet();
      const model = new Set<number>();
      for (const [at, skip, length] of runs) {
        for (let offset = at + skip; offset < at + skip + length; offset += 1) {
          set.add(offset);
          model.add(offset);
        }
      }
      const from = place + more;
      const above = [...model].filter((offset) => offset >= from).sort((a, b) => a - b);
      const ranges = set.rangesFrom(from);
      expect(unfold(ranges)).toEqual(above);
      for (const [index, [start]] of ranges.entries()) expect(start).toBeGreaterThan(ranges[index - 1]?.[1] ?? -1);
      let absent = from;
      while (model.has(absent)) absent += 1;
      expect(set.firstAbsent(from)).toBe(absent);
      for (const [at, skip, length] of runs)
        for (const offset of [at, at + skip, at + skip + length, from]) expect(set.has(offset)).toBe(model.has(offset));
      expect(set.highest).toBe(Math.max(-1, ...model));
      set.clear();
      expect([set.highest, set.has(from), set.rangesFrom(0)]).toEqual([-1, false, []]);
    }),
  );
});
