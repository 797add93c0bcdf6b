import { expect, test } from "bun:test";
import { inUrgency } from "./urgency.ts";

const positions = [0, 1, 2].flatMap((priority) =>
  [0, 1, 2].map((base) => ({ position: 10 * priority + base, priority })),
);

test("[Q4] more urgent positions are looked at whether or not a doorbell told of them, the others in turn", () => {
  expect(inUrgency(positions, 0, (position) => [1, 2].includes(position))).toEqual([20, 21, 22, 10, 11, 12, 1, 2]);
  expect(inUrgency(positions, 2, (position) => [0, 1, 2].includes(position))).toEqual([
    22, 20, 21, 12, 10, 11, 2, 0, 1,
  ]);
  expect(inUrgency(positions, 0, (position) => position === 11)).toEqual([20, 21, 22, 11]);
});

test("[Q4] nothing is looked at while nobody hopes for anything", () => {
  expect(inUrgency(positions, 1, () => false)).toEqual([]);
});
