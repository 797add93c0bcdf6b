import { expect, setDefaultTimeout, test } from "bun:test";
import { life } from "./failpoints/scenarios.ts";
import { problemsOf } from "./failpoints/tour.ts";

setDefaultTimeout(240_000);

test("[N1][I12][I13] at every statement of starting, taking over, the duties and closing, whatever happens: nothing is lost, and no effect is there twice", async () => {
  expect(await problemsOf([life])).toEqual([]);
});
