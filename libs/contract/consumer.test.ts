import { expect, test } from "bun:test";
import { z } from "zod";
import { type ConsumerOptions, consumer } from "./consumer.ts";
import { topic } from "./topic.ts";

const letters = topic("letters", { schema: z.string() });
const handler = () => undefined;

test("each mode has its defaults", () => {
  const of = (mode: "ordered" | "keyed" | "shared" | "broadcast") => {
    const { concurrency, start } = consumer(letters, { group: "g", mode, handler });
    return [concurrency, start];
  };
  expect(of("ordered")).toEqual([1, "earliest"]);
  expect(of("keyed")).toEqual([16, "earliest"]);
  expect(of("shared")).toEqual([16, "earliest"]);
  expect(of("broadcast")).toEqual([1, "latest"]);
  expect(consumer(letters, { group: "g", handler })).toMatchObject({
    mode: "ordered",
    singleActive: false,
    protect: false,
  });
});

test("what does not fit the mode is refused, all problems at once", () => {
  const paths = (options: Omit<ConsumerOptions<string>, "group" | "handler">) => {
    try {
      consumer(letters, { group: "g", ...options, handler });
      return [];
    } catch (error) {
      return (error as { problems: { path: string }[] }).problems.map(({ path }) => path);
    }
  };
  expect(paths({ mode: "none" as never })).toEqual(["mode"]);
  expect(paths({ mode: "shared", singleActive: true, commit: "explicit", instance: "one" })).toEqual([
    "singleActive",
    "commit",
    "instance",
  ]);
  expect(paths({ mode: "broadcast", protect: true, commit: "explicit" })).toEqual(["protect", "commit"]);
  expect(paths({ mode: "broadcast", instance: "a/b" })).toEqual(["instance"]);
  expect(paths({ mode: "broadcast", instance: "one", protect: true, commit: "explicit", concurrency: 4 })).toEqual([]);
  expect(paths({ mode: "keyed", singleActive: "yes" as never })).toEqual(["singleActive"]);
  expect(paths({ concurrency: 2 })).toEqual(["concurrency"]);
});
