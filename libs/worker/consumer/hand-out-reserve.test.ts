import { expect, test } from "bun:test";
import { carefulReserve, HandOutReserve, leastReserve } from "./hand-out-reserve.ts";

/** Hands out `count` messages, and gives what was reserved beyond them at each write. */
function margins(reserve: HandOutReserve, from: number, count: number): number[] {
  const found: number[] = [];
  for (let offset = from; offset < from + count; offset += 1) {
    if (offset < reserve.end) continue;
    const end = reserve.next(offset + 1);
    reserve.written(end, offset + 1);
    found.push(end - offset);
  }
  return found;
}

test("a busy owner reserves more and more, and so writes seldom", () => {
  const found = margins(new HandOutReserve(0), 0, 100_000);
  expect(found.length).toBeLessThan(10);
  expect(Math.max(...found)).toBeGreaterThan(10_000);
});

test("[I16] where a process has ended already the steps stay small, up to what it may have had in hand", () => {
  const reserve = new HandOutReserve(0, { crashes: 1, suspectTo: 10_000 });
  const found = margins(reserve, 0, 10_000 - leastReserve);
  expect(Math.max(...found)).toBeLessThanOrEqual(leastReserve + 1);
  expect(reserve.isCareful(9_999)).toBe(true);
  expect(reserve.isCareful(10_000)).toBe(false);
  expect(Math.max(...margins(reserve, 10_000, 50_000))).toBeGreaterThan(5_000);
});

test("[I16][I22] where two have ended only a few are in hand at a time, up to what both may have had", () => {
  const reserve = new HandOutReserve(0, { crashes: 2, suspectTo: 1_000 });
  expect(reserve.end).toBe(carefulReserve);
  expect(Math.max(...margins(reserve, 0, 1_000 - carefulReserve))).toBeLessThanOrEqual(carefulReserve + 1);
  expect([reserve.limitAt(999), reserve.limitAt(1_000)]).toEqual([carefulReserve, undefined]);
  expect(new HandOutReserve(0, { crashes: 1, suspectTo: 1_000 }).limitAt(0)).toBeUndefined();
});
