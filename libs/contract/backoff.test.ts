import { expect, test } from "bun:test";
import fc from "fast-check";
import { exponential, fixed, intervals } from "./backoff.ts";

test("[R5] exponential doubles its bound up to the longest, and draws below it", () => {
  const backoff = exponential("1s", "10s");
  expect([1, 2, 3, 4, 5, 1_000].map((attempt) => backoff.delayMs(attempt, 1))).toEqual([
    1_000, 2_000, 4_000, 8_000, 10_000, 10_000,
  ]);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1_000 }), fc.double({ min: 0, max: 1, noNaN: true }), (attempt, random) => {
      const delayMs = backoff.delayMs(attempt, random);
      expect(delayMs).toBeGreaterThanOrEqual(0);
      expect(delayMs).toBeLessThanOrEqual(10_000);
      expect(delayMs).toBeLessThanOrEqual(backoff.delayMs(attempt + 1, random));
    }),
  );
});

test("[R5] intervals come one after the other, the last again and again; fixed is always the same", () => {
  const backoff = intervals("1s", "10s", "1m");
  expect([1, 2, 3, 4, 99].map((attempt) => backoff.delayMs(attempt, 0.5))).toEqual([
    1_000, 10_000, 60_000, 60_000, 60_000,
  ]);
  expect([1, 99].map((attempt) => fixed("250ms").delayMs(attempt, 0))).toEqual([250, 250]);
});

test("a duration that is none is told, not thrown", () => {
  expect(exponential("1s", "5 minutes" as "5m").problems).toEqual([
    '"5 minutes" is not a duration such as "1s" or "5m"',
  ]);
  expect(intervals(-1).problems).toHaveLength(1);
  expect(fixed(0).problems).toEqual([]);
});
