import { expect, setDefaultTimeout, test } from "bun:test";
import { keyed, later, ordered, retries, sending, stages } from "./failpoints/scenarios.ts";
import { problemsOf } from "./failpoints/tour.ts";

setDefaultTimeout(240_000);

test("[N1][I1][I2][I12][I13][I14] at every statement of sending, delivering and relaying, whatever happens: nothing is lost, and no effect is there twice", async () => {
  expect(await problemsOf([ordered, keyed, retries, sending, later, stages])).toEqual([]);
});
