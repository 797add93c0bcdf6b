import { expect, test } from "bun:test";
import fc from "fast-check";
import { Progress } from "./progress.ts";

const offsets = fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 60 });

/** The same by a set: everything below the first hole is done. */
function model(done: ReadonlySet<number>): { next: number; above: number[] } {
  let next = 0;
  while (done.has(next)) next += 1;
  return { next, above: [...done].filter((offset) => offset > next).sort((a, b) => a - b) };
}

const unfold = (ranges: readonly (readonly [number, number])[]) =>
  ranges.flatMap(([from, to]) => Array.from({ length: to - from }, (_, index) => from + index));

test("next is the first offset that is not done, and the ranges hold what is done above", () => {
  fc.assert(
    fc.property(offsets, fc.integer({ min: 1, max: 10 }), (order, every) => {
      const progress = new Progress(0, []);
      const done = new Set<number>();
      for (const [index, offset] of order.entries()) {
        progress.done(offset);
        done.add(offset);
        const expected = model(done);
        expect(progress.next).toBe(expected.next);
        if (index % every === 0) expect(unfold(progress.ranges())).toEqual(expected.above);
      }
      for (let offset = 0; offset <= 41; offset += 1) expect(progress.isDone(offset)).toBe(done.has(offset));
    }),
  );
});

test("what was written down is where the next owner goes on", () => {
  fc.assert(
    fc.property(offsets, offsets, (first, second) => {
      const before = new Progress(0, []);
      for (const offset of first) before.done(offset);
      const after = new Progress(before.next, before.ranges());
      for (const offset of second) after.done(offset);
      const expected = model(new Set([...first, ...second]));
      expect(after.next).toBe(expected.next);
      expect(unfold(after.ranges())).toEqual(expected.above);
    }),
  );
});

test("what retention dropped counts as done", () => {
  fc.assert(
    fc.property(offsets, fc.integer({ min: 0, max: 45 }), (order, dropped) => {
      const progress = new Progress(0, []);
      for (const offset of order) progress.done(offset);
      progress.ranges();
      progress.skipTo(dropped);
      const below = Array.from({ length: dropped }, (_, offset) => offset);
      const expected = model(new Set([...order, ...below]));
      expect(progress.next).toBe(expected.next);
      expect(unfold(progress.ranges())).toEqual(expected.above);
    }),
  );
});

test("ranges lie apart, ascending, above next", () => {
  fc.assert(
    fc.property(offsets, (order) => {
      const progress = new Progress(0, []);
      for (const offset of order) progress.done(offset);
      let end = progress.next;
      for (const [from, to] of progress.ranges()) {
        expect(from).toBeGreaterThan(end);
        expect(to).toBeGreaterThan(from);
        end = to;
      }
    }),
  );
});

test("[R6] what is passed over counts as done, in whatever order it comes with what is handled", () => {
  const step = fc.tuple(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 1, max: 10 }), fc.boolean());
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.integer({ min: 1, max: 10 }), (steps, every) => {
      const progress = new Progress(0, []);
      const done = new Set<number>();
      for (const [index, [from, length, isPassed]] of steps.entries()) {
        if (isPassed) progress.passOver(from, from + length);
        else progress.done(from);
        for (let offset = from; offset < from + (isPassed ? length : 1); offset += 1) done.add(offset);
        const expected = model(done);
        expect(progress.next).toBe(expected.next);
        if (index % every === 0) expect(unfold(progress.ranges())).toEqual(expected.above);
      }
      for (let offset = 0; offset <= 52; offset += 1) expect(progress.isDone(offset)).toBe(done.has(offset));
    }),
    { numRuns: 2_000 },
  );
});
