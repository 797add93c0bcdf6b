import { expect, setDefaultTimeout, test } from "bun:test";
import { callingScenarios } from "./failpoints/calling-scenarios.ts";
import { shared } from "./failpoints/scenarios.ts";
import { problemsOf } from "./failpoints/tour.ts";

setDefaultTimeout(240_000);

test("[N1][I12][I13] at every statement of shared groups, requests, half messages and looking after groups, whatever happens: nothing is lost, and no effect is there twice", async () => {
  expect(await problemsOf([shared, ...callingScenarios])).toEqual([]);
});
