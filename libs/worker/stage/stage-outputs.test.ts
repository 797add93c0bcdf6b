import { expect, test } from "bun:test";
import { type AnyTopic, outgoing, stage, topic } from "@sluice/contract";
import { limits } from "@sluice/kernel";
import type { ReadBatch } from "@sluice/log";
import fc from "fast-check";
import { z } from "zod";
import { offsetOf, RecordCursor } from "./record-cursor.ts";
import { type StageAppend, StageOutputs, type StageTopic } from "./stage-outputs.ts";

const [source, later, earlier] = ["source", "later", "earlier"].map((name) => topic(name, { schema: z.string() }));

function outputsTo(partitions: number): StageOutputs {
  const targets = [later, earlier] as AnyTopic[];
  const declared = stage({ from: source as AnyTopic, to: targets, group: "g", map: () => undefined });
  const topics = new Map(
    targets.map((target, index): [AnyTopic, StageTopic] => [
      target,
      {
        entry: {
          number: 9 - index,
          name: target.name,
          partitions,
          priorities: 1,
          encoding: "json",
          guards: { deduplicateMs: null, maxDepth: null, timeToLiveMs: null, overflow: "reject", drops: false },
        },
        pickPartition: (_, wanted) => wanted ?? 0,
      },
    ]),
  );
  return new StageOutputs(declared, topics, 7);
}

interface Placed {
  readonly topic: number;
  readonly partition: number;
  readonly value: string;
  readonly id: string;
}

const unfold = (appends: readonly StageAppend[]): Placed[] =>
  appends.flatMap(({ topic: { number }, entries }) =>
    entries.flatMap(({ partition, count, records, attributes }) => {
      const values = JSON.parse(records) as string[];
      const carried = JSON.parse(attributes) as { id: string }[];
      expect([values.length, carried.length]).toEqual([count, count]);
      return values.map((value, index) => ({ topic: number, partition, value, id: carried[index]?.id ?? "" }));
    }),
  );

test("[K15] what a stage produces goes in the order of the locks, each once, in its order, within an append's limits", () => {
  const message = fc.array(
    fc.record({ isLater: fc.boolean(), partition: fc.nat(3), size: fc.constantFrom(1, 1, 1, 400_000) }),
    { maxLength: 30 },
  );
  fc.assert(
    fc.property(fc.array(message, { maxLength: 4 }), fc.constantFrom(1, 900), (messages, times) => {
      const outputs = outputsTo(4);
      const expected: Placed[] = [];
      let characters = 0;
      for (const [offset, outgoings] of messages.entries()) {
        const entries = outgoings.flatMap(({ isLater, partition, size }) => {
          // Large ones few, small ones many; never beyond what one transaction may hold.
          const copies = size > 1 || expected.length + 30 * times > limits.stageRecords ? 1 : times;
          characters += (size + 20) * copies;
          return Array.from({ length: copies }, (_, copy) => ({
            isLater,
            partition,
            value: `${copy}`.padEnd(size, "x"),
          }));
        });
        fc.pre(expected.length + entries.length <= limits.stageRecords && characters <= limits.stageCharacters);
        outputs.add(
          entries.map(({ isLater, partition, value }) =>
            outgoing((isLater ? later : earlier) as AnyTopic, value, { partition }),
          ),
          offset,
        );
        for (const [number, { isLater, partition, value }] of entries.entries())
          expected.push({ topic: isLater ? 9 : 8, partition, value, id: `s-7-${offset}-${number}` });
      }
      const appends = outputs.appends();
      const place = ({ topic: number, partition }: { topic: number; partition: number }) => number * 1_024 + partition;
      // Stable, so each partition keeps its order.
      expect(unfold(appends)).toEqual([...expected].sort((a, b) => place(a) - place(b)));
      for (const { entries } of appends) {
        expect(entries.length).toBeGreaterThan(0);
        const count = entries.reduce((sum, entry) => sum + entry.count, 0);
        expect(count).toBeLessThanOrEqual(limits.appendRecords);
        for (const [index, { partition }] of entries.entries())
          if (index > 0) expect(partition).toBeGreaterThan(entries[index - 1]?.partition ?? 0);
      }
    }),
    { numRuns: 40 },
  );
});

test("[K15] a transaction that would produce too much is refused", () => {
  const outputs = outputsTo(1);
  const many = Array.from({ length: limits.stageRecords }, () => outgoing(later as AnyTopic, "x"));
  outputs.add(many, 0);
  expect(() => outputs.add([outgoing(later as AnyTopic, "x")], 1)).toThrow("more than 10000 messages");
});

test("a cursor goes through every record that is not done once, in order, in pieces that are small enough", () => {
  const batches = fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 12 });
  fc.assert(
    fc.property(
      batches,
      fc.nat(5),
      fc.uniqueArray(fc.nat(60)),
      fc.integer({ min: 1, max: 7 }),
      (counts, skip, done, most) => {
        let offset = 10;
        const read = counts.map((count): ReadBatch => {
          const batch = {
            baseOffset: offset,
            count,
            characters: count,
            values: new Array(count),
          } as unknown as ReadBatch;
          offset += count;
          return batch;
        });
        const from = 10 + Math.min(skip, Math.max(0, (counts[0] ?? 1) - 1));
        const cursor = new RecordCursor(read, from);
        const isDone = (one: number) => done.includes(one);
        const seen: number[] = [];
        for (let places = cursor.take(most, isDone); places.length > 0; places = cursor.take(most, isDone)) {
          expect(places.length).toBeLessThanOrEqual(most);
          seen.push(...places.map(offsetOf));
        }
        const all = Array.from({ length: offset - from }, (_, index) => from + index);
        expect(seen).toEqual(counts.length === 0 ? [] : all.filter((one) => !isDone(one)));
      },
    ),
  );
});
