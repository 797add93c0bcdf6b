import { expect, test } from "bun:test";
import { RangeSize } from "./range-size.ts";

test("ranges begin with what is in the handler at once, double while they are quick, and stay below 1,000", () => {
  const size = new RangeSize(16);
  const seen = Array.from({ length: 8 }, () => {
    const { records } = size;
    size.completed(records, 5);
    return records;
  });
  expect(seen).toEqual([16, 32, 64, 128, 256, 512, 1_000, 1_000]);
  expect(new RangeSize(5_000).records).toBe(1_000);
});

test("a slow range halves them, a short one says nothing", () => {
  const size = new RangeSize(4);
  size.completed(1, 5);
  expect(size.records).toBe(4);
  size.completed(4, 500);
  expect(size.records).toBe(4);
  for (const expected of [2, 1, 1]) {
    size.completed(4, 1_500);
    expect(size.records).toBe(expected);
  }
});
