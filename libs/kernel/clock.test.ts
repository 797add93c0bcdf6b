import { afterEach, beforeEach, expect, jest, test } from "bun:test";
import { systemClock } from "./clock.ts";

const dayMs = 86_400_000;

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

test("what is to come after longer than a timer can wait comes after that, and not at once", () => {
  let calls = 0;
  systemClock.after(40 * dayMs, () => {
    calls += 1;
  });
  jest.advanceTimersByTime(40 * dayMs - 1);
  expect(calls).toBe(0);
  jest.advanceTimersByTime(1);
  expect(calls).toBe(1);
  jest.advanceTimersByTime(40 * dayMs);
  expect(calls).toBe(1);
});

test("it is cancelled however long it has waited", () => {
  let calls = 0;
  const cancel = systemClock.after(60 * dayMs, () => {
    calls += 1;
  });
  jest.advanceTimersByTime(40 * dayMs);
  cancel();
  jest.advanceTimersByTime(40 * dayMs);
  expect(calls).toBe(0);
});
