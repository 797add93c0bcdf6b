import { expect, test } from "bun:test";
import { systemClock } from "@sluice/kernel";
import fc from "fast-check";
import { Gathering, TimedGathering } from "./gathering.ts";

test("[R9] nothing is lost, doubled or turned round, and no batch is larger than its size", () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 9 }), fc.array(fc.integer({ min: 0, max: 5_000_000 })), (size, weights) => {
      const gathering = new Gathering<{ characters: number; number: number }>(size, 0);
      const items = weights.map((characters, number) => ({ characters, number }));
      const batches = items.flatMap((item) => {
        const enough = gathering.add(item);
        return enough === undefined ? [] : [enough];
      });
      const rest = gathering.take();
      for (const batch of batches) {
        expect(batch.length).toBeLessThanOrEqual(size);
        const before = batch.slice(0, -1).reduce((sum, { characters }) => sum + characters, 0);
        expect(before).toBeLessThan(8 * 1_048_576);
      }
      expect(rest.length).toBeLessThan(size);
      expect([...batches, rest].flat()).toEqual(items);
    }),
  );
});

test("[R9] what waits is due at once without a wait, and not before its wait is over", () => {
  const [now, later] = [new Gathering(2, 0), new Gathering(2, 60_000)];
  expect(now.remainingMs).toBeUndefined();
  for (const gathering of [now, later]) gathering.add({ characters: 1 });
  expect(now.remainingMs).toBe(0);
  expect(later.remainingMs).toBeGreaterThan(50_000);
});

test("[R9] a timed one hands over what came in one turn together, and nothing after a stop", async () => {
  const handed = Promise.withResolvers<readonly unknown[]>();
  const gathering = new TimedGathering(10, 0, systemClock, handed.resolve);
  gathering.add({ characters: 1 });
  await Promise.resolve();
  gathering.add({ characters: 2 });
  expect(await handed.promise).toEqual([{ characters: 1 }, { characters: 2 }]);
  const timers: (() => void)[] = [];
  const after = (_: number, callback: () => void) => {
    timers.push(callback);
    return () => undefined;
  };
  const clock = { now: () => 0, after };
  const seen: unknown[] = [];
  const stopped = new TimedGathering(10, 1_000, clock, (items) => seen.push(items));
  stopped.add({ characters: 1 });
  stopped.stop();
  for (const timer of timers) timer();
  expect(seen).toEqual([]);
});
