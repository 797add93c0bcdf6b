import { expect, test } from "bun:test";
import { GatheredCalls } from "./gathered-calls.ts";

test("what comes while a call is under way goes with the next one, in order, and no more than the limit", async () => {
  const calls: number[][] = [];
  const gates: PromiseWithResolvers<void>[] = [];
  const gathered = new GatheredCalls<number, number>({ limit: 3, everyMs: 0 }, async (items) => {
    calls.push([...items]);
    const gate = Promise.withResolvers<void>();
    gates.push(gate);
    await gate.promise;
    return items.map((item) => item * 10);
  });
  const first = [gathered.add(1), gathered.add(2)];
  await Promise.resolve();
  await Promise.resolve();
  const second = [3, 4, 5, 6].map((item) => gathered.add(item));
  gates[0]?.resolve();
  expect(await Promise.all(first)).toEqual([10, 20]);
  while (gates.length < 2) await Promise.resolve();
  gates[1]?.resolve();
  while (gates.length < 3) await Promise.resolve();
  gates[2]?.resolve();
  expect(await Promise.all(second)).toEqual([30, 40, 50, 60]);
  expect(calls).toEqual([[1, 2], [3, 4, 5], [6]]);
});

test("a call that fails fails for those that it was made for, and for no others", async () => {
  let calls = 0;
  const gathered = new GatheredCalls<number, number>({ limit: 10, everyMs: 0 }, async (items) => {
    calls += 1;
    if (calls === 1) throw new Error("no");
    return items;
  });
  const first = gathered.add(1);
  expect(await first.catch((error: Error) => error.message)).toBe("no");
  expect(await gathered.add(2)).toBe(2);
});

test("what follows closely goes together, and what is lone goes at once", async () => {
  const calls: number[][] = [];
  const gathered = new GatheredCalls<number, number>({ limit: 3, everyMs: 20 }, async (items) => {
    calls.push([...items]);
    return items;
  });
  await gathered.add(1);
  const began = performance.now();
  const second = gathered.add(2);
  await Promise.resolve();
  expect(await Promise.all([second, gathered.add(3)])).toEqual([2, 3]);
  expect(calls).toEqual([[1], [2, 3]]);
  expect(performance.now() - began).toBeGreaterThan(5);
});
