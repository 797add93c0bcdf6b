import { expect, test } from "bun:test";
import { isSluiceError } from "@sluice/kernel";
import fc from "fast-check";
import { z } from "zod";
import { consumer } from "./consumer.ts";
import { basePartitions, laneOf, partitionOfLane } from "./priority.ts";
import { topic } from "./topic.ts";

const schema = z.object({ level: z.number() });

test("[Q4] lanes and partitions of the log are one to one, and more priorities leave those that there are where they are", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 102 }), fc.integer({ min: 1, max: 9 }), (base, priorities) => {
      const lanes = { partitions: base * priorities, priorities };
      const more = { partitions: base * (priorities + 1), priorities: priorities + 1 };
      expect(basePartitions(lanes)).toBe(base);
      for (let partition = 0; partition < lanes.partitions; partition += 1) {
        const lane = laneOf(partition, lanes);
        expect(lane.base < base && lane.priority < priorities).toBe(true);
        expect(partitionOfLane(lane, lanes)).toBe(partition);
        expect(partitionOfLane(lane, more)).toBe(partition);
      }
    }),
  );
});

function problemsOf(declare: () => unknown): readonly string[] {
  try {
    declare();
  } catch (error) {
    if (isSluiceError(error, "INVALID_OPTIONS")) return error.problems.map(({ path }) => path);
  }
  return [];
}

test("[Q4] priorities that cannot be are refused where the topic is declared", () => {
  for (const priorities of [0, 11, 1.5, Number.NaN, "2" as unknown as number]) {
    expect(problemsOf(() => topic("jobs", { schema, priorities }))).toEqual(["priorities"]);
  }
  expect(problemsOf(() => topic("jobs", { schema, priorities: 3, partitions: 500 }))).toEqual(["priorities"]);
  expect(problemsOf(() => topic("jobs", { schema, priority: ({ level }) => level }))).toEqual(["priority"]);
  const priority = 1 as unknown as () => number;
  expect(problemsOf(() => topic("jobs", { schema, priorities: 2, priority }))).toEqual(["priority"]);
  expect(topic("jobs", { schema })).toMatchObject({ priorities: 1 });
});

test("[Q4] a topic with priorities is not consumed in order, which is a mode's default, too", () => {
  const jobs = topic("jobs", { schema, priorities: 2 });
  const handler = () => {};
  expect(problemsOf(() => consumer(jobs, { group: "g", handler }))).toEqual(["mode"]);
  expect(problemsOf(() => consumer(jobs, { group: "g", mode: "ordered", handler }))).toEqual(["mode"]);
  for (const mode of ["keyed", "shared", "broadcast"] as const) consumer(jobs, { group: "g", mode, handler });
  consumer(topic("jobs", { schema, priorities: 1 }), { group: "g", handler });
});
