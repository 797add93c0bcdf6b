import { expect, test } from "bun:test";
import fc from "fast-check";
import { murmur2 } from "./murmur2.ts";
import { keyHash, leastLoaded, partitionOfKey, roundRobin, stickyRecords } from "./partitioner.ts";

const idle = () => 0;

test("[K2] murmur2 is Kafka's: the vectors of its UtilsTest", () => {
  expect([
    murmur2("21"),
    murmur2("foobar"),
    murmur2("a-little-bit-long-string"),
    murmur2("a-little-bit-longer-string"),
    murmur2("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8"),
    murmur2("abc"),
  ]).toEqual([-973932308, -790332482, -985981536, -1486304829, -58897971, 479470107]);
});

test("[K2] a key's partition is one of the topic's, and always the same", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: "grapheme", maxLength: 80 }),
      fc.integer({ min: 1, max: 1_024 }),
      (key, partitions) => {
        const partition = partitionOfKey(key, partitions);
        expect(partition).toBeGreaterThanOrEqual(0);
        expect(partition).toBeLessThan(partitions);
        expect(keyHash()({ key, partitions, waiting: idle })).toBe(partition);
      },
    ),
  );
});

test("[K2] records without a key stick to one partition for a while, then go to the next", () => {
  const pick = keyHash();
  const picked = Array.from({ length: 3 * stickyRecords }, () => pick({ key: null, partitions: 3, waiting: idle }));
  const runs = [0, 1, 2].map((run) => new Set(picked.slice(run * stickyRecords, (run + 1) * stickyRecords)));
  expect(runs.map((run) => run.size)).toEqual([1, 1, 1]);
  expect(new Set(picked).size).toBe(3);
});

test("[K2] round robin takes turns", () => {
  const pick = roundRobin();
  expect(Array.from({ length: 5 }, () => pick({ key: "k", partitions: 3, waiting: idle }))).toEqual([0, 1, 2, 0, 1]);
});

test("[K2] least loaded takes a partition that none has fewer records than", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(5), { minLength: 1, maxLength: 8 }), fc.nat(20), (loads, turns) => {
      const pick = leastLoaded();
      const waiting = (partition: number) => loads[partition] ?? 0;
      for (let turn = 0; turn <= turns; turn += 1)
        expect(waiting(pick({ key: null, partitions: loads.length, waiting }))).toBe(Math.min(...loads));
    }),
  );
});
