import { expect, test } from "bun:test";
import { limits } from "@sluice/kernel";
import fc from "fast-check";
import { Accumulator, type Flush, type PendingRecord } from "./accumulator.ts";

const completion = { appended: () => undefined, answered: () => undefined, failed: () => undefined };

function pending(value: string, key: string | null = null): PendingRecord {
  return { key, value, attributes: null, messageId: null, acks: 1, completion, index: 0 };
}

function drain(accumulator: Accumulator): Flush[] {
  const flushes: Flush[] = [];
  while (!accumulator.isEmpty) flushes.push(accumulator.take());
  return flushes;
}

const traffic = fc.array(
  fc.record({ partition: fc.nat(5), size: fc.constantFrom(1, 10, 300_000, 700_000, 1_048_000) }),
  {
    minLength: 1,
    maxLength: 40,
  },
);

test("[K2] every record leaves once, in the order of its partition, partitions ascending, within the limits", () => {
  fc.assert(
    fc.property(traffic, (records) => {
      const accumulator = new Accumulator();
      const added = records.map(({ partition, size }, number) => {
        const record = pending(`"${number}${" ".repeat(size)}"`);
        accumulator.add(partition, record);
        return { partition, record };
      });
      const flushes = drain(accumulator);
      for (const flush of flushes) {
        const partitions = flush.entries.map((entry) => entry.partition);
        expect(partitions).toEqual([...new Set(partitions)].sort((a, b) => a - b));
        expect(flush.recordCount).toBe(flush.records.reduce((sum, batch) => sum + batch.length, 0));
        for (const [index, batch] of flush.records.entries()) {
          expect(flush.entries[index]?.count).toBe(batch.length);
          const characters = batch.reduce((sum, record) => sum + record.value.length, 0);
          expect(batch.length === 1 || characters <= limits.appendCharacters).toBe(true);
        }
      }
      for (let partition = 0; partition <= 5; partition += 1) {
        const left = flushes.flatMap((flush) =>
          flush.entries.flatMap((entry, index) => (entry.partition === partition ? (flush.records[index] ?? []) : [])),
        );
        const expected = added.filter((one) => one.partition === partition).map(({ record }) => record);
        expect(left.length === expected.length && left.every((record, index) => record === expected[index])).toBe(true);
      }
    }),
    { numRuns: 40 },
  );
});

test("[K2] a flush holds no more records than the limit", () => {
  const accumulator = new Accumulator();
  for (let index = 0; index < limits.appendRecords + 1; index += 1) accumulator.add(0, pending("1"));
  expect(drain(accumulator).map(({ recordCount }) => recordCount)).toEqual([limits.appendRecords, 1]);
});

test("[K1] entries are JSON: keys only where there is one, values as they were", () => {
  const accumulator = new Accumulator();
  accumulator.add(1, pending('{"a":1}', "k"));
  accumulator.add(1, pending("2"));
  accumulator.add(0, pending("3"));
  expect(accumulator.take().entries).toMatchObject([
    { partition: 0, count: 1, keys: null, records: "[3]" },
    { partition: 1, count: 2, keys: '["k",null]', records: '[{"a":1},2]' },
  ]);
});

test("[K3] one record that waits for standbys makes its whole flush wait", () => {
  const accumulator = new Accumulator();
  accumulator.add(0, pending("1"));
  accumulator.add(1, { ...pending("2"), acks: "all" });
  accumulator.add(2, pending("3"));
  expect(accumulator.take().acks).toBe("all");
});
