import { expect, test } from "bun:test";
import type { ChannelCheck } from "./exactly-once.ts";
import { percentile } from "./load.ts";
import { reportText } from "./report-text.ts";

const clean: ChannelCheck = { expected: 2, exactlyOnce: 2, missing: [], doubled: [], strangers: [], earlier: 0 };

function report(email: ChannelCheck, passed: boolean): string {
  const arrivals = { passed, email, sms: clean, messages: 2, queued: 2, isCaughtUp: true };
  const measurements = [{ way: "queued", isRowSlow: false, p50Ms: 3.14, p99Ms: 9.9 }] as const;
  return reportText({ run: "run-1", signups: 2, perSecond: 80, stepMs: 50, measurements, arrivals });
}

test("the report names who is missing, who was served twice, and who never asked", () => {
  expect(report(clean, true)).toContain("PASSED");
  const text = report({ ...clean, exactlyOnce: 0, missing: ["a@x"], doubled: ["b@x"], strangers: ["c@x"] }, false);
  expect(text).toContain("FAILED");
  expect(text).toContain("mail missing for 1: a@x");
  expect(text).toContain("mail more than once for 1: b@x");
  expect(text).toContain("c@x");
});

test("percentiles are values that were measured, by nearest rank", () => {
  const values = Array.from({ length: 200 }, (_, index) => 200 - index);
  expect(percentile(values, 0.5)).toBe(100);
  expect(percentile(values, 0.99)).toBe(198);
  expect(percentile([7], 0.99)).toBe(7);
});
