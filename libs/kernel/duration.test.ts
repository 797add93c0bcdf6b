import { expect, test } from "bun:test";
import { type Duration, parseDurationMs } from "./duration.ts";

test("a duration is its milliseconds, whole", () => {
  const durations: Duration[] = [0, 1.4, "0ms", "250ms", "1.5s", "5m", "12h", "7d", "2w", "0.0004s"];
  expect(durations.map(parseDurationMs)).toEqual([
    0, 1, 0, 250, 1_500, 300_000, 43_200_000, 604_800_000, 1_209_600_000, 0,
  ]);
});

test("what is no duration is refused", () => {
  const others = [
    -1,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    "",
    "5",
    "m",
    "-5m",
    "5 m",
    "5M",
    "5min",
    "1e3s",
    ".5s",
    null,
    {},
  ];
  expect(others.map(parseDurationMs)).toEqual(others.map(() => undefined));
});

test("a duration is 100 years long at most", () => {
  const longest = 36_525 * 86_400_000;
  const durations = [longest, "36525d", longest + 1, "36526d", "6000w", Number.MAX_VALUE, `${"9".repeat(400)}w`];
  expect(durations.map(parseDurationMs)).toEqual([longest, longest, ...Array(5).fill(undefined)]);
});
