import { expect, test } from "bun:test";
import type { SluiceError } from "@sluice/kernel";
import { z } from "zod";
import { consumer } from "./consumer.ts";
import { topic } from "./topic.ts";

const numbers = topic("numbers", { schema: z.number() });

function problemsOf(options: Record<string, unknown>): string[] {
  try {
    consumer(numbers, { group: "g", ...options } as never);
    return [];
  } catch (error) {
    return (error as SluiceError).problems.map(({ path, message }) => `${path}: ${message}`);
  }
}

const batchHandler = () => undefined;
const handler = () => undefined;

test("[R9] a consumer has a handler or a batchHandler, and what belongs to it", () => {
  expect(problemsOf({ batchHandler, batch: { size: 2 } })).toEqual([]);
  expect(problemsOf({})).toEqual(["handler: must be a function"]);
  expect(problemsOf({ handler, batch: { size: 2 } })).toEqual([
    "batch: is for a batchHandler; a handler gets one message at a time",
  ]);
  expect(problemsOf({ handler, batchHandler })).toEqual([
    "handler: excludes batchHandler: declare one of the two",
    "batch.size: must be a whole number from 2 to 1,000",
  ]);
  expect(problemsOf({ batchHandler: 7, batch: { size: 1, wait: "2h" }, commit: "explicit" })).toEqual([
    "batchHandler: must be a function",
    "batch.size: must be a whole number from 2 to 1,000",
    "batch.wait: must be a duration of at most 1 minute",
    'commit: must be "interval" with a batchHandler: its transaction, or its return, says what is done',
  ]);
  expect(problemsOf({ batchHandler, batch: { size: 20 }, prefetch: 10, mode: "keyed", concurrency: 16 })).toEqual([
    "prefetch: must be at least batch.size",
    "concurrency: must be at least batch.size: it counts messages",
  ]);
});

test("[R9] a keyed batch consumer may have a whole batch in the handler", () => {
  const declared = consumer(numbers, { group: "g", mode: "keyed", batchHandler, batch: { size: 100 } });
  expect(declared.concurrency).toBe(100);
});

test("time limits and middlewares that are none are refused at declaration", () => {
  for (const timeout of ["2h", 0, "soon", -1])
    expect(problemsOf({ handler, timeout })).toEqual(["timeout: must be a duration of at most 1 hour"]);
  expect(problemsOf({ handler, timeout: "1h" })).toEqual([]);
  for (const use of [handler, [7]])
    expect(problemsOf({ handler, use })).toEqual(["use: must be a list of functions (c, next) => Promise<void>"]);
});
