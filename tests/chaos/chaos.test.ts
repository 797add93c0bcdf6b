import { expect, setDefaultTimeout, test } from "bun:test";
import { rmSync } from "node:fs";
import { dirname } from "node:path";
import { defects } from "./defects.ts";
import { linesOf } from "./report.ts";
import { runChaos } from "./run.ts";

setDefaultTimeout(240_000);

const seed = 20_261_121;

test("[I1][I2][I3][I4][I5][I7][I9][I10][I11][I12][I13][I14][I18][I21][I22] everything holds while processes die, connections break and Postgres restarts", async () => {
  const report = await runChaos({ seconds: 15, seed, messages: 12_000, pauseMs: 2_000 });
  console.log(linesOf(report).join("\n"));
  expect(report.verdict.findings).toEqual([]);
  expect(report.lag.left).toEqual([]);
  expect([...report.late, ...report.unexpected]).toEqual([]);
  expect(report.passed).toBe(true);
  const { counts } = report.verdict;
  expect(counts.acknowledged).toBeGreaterThan(2_000);
  expect(counts.handled).toBeGreaterThan(3 * 2_000);
  expect(Object.keys(counts.faults).length).toBeGreaterThanOrEqual(5);
});

/** Chance decides what a few seconds of faults hit, most of all on a machine that does other things: nearly always the first run is enough. */
const mostRuns = 3;

test.each(defects.map((defect) => [defect.name, defect] as const))(
  "the check sees a version that has %s",
  async (_, defect) => {
    const found: string[] = [];
    for (let run = 0; run < mostRuns && !found.some((name) => defect.found.includes(name)); run += 1) {
      const report = await runChaos({
        seconds: 15,
        seed: seed + run,
        messages: 15_000,
        kinds: defect.kinds,
        pauseMs: defect.pauseMs ?? 300,
        lagDeadlineMs: 2_000,
        defect,
      });
      found.push(...report.verdict.findings.map(({ name }) => name));
      if (report.historyFile !== undefined) rmSync(dirname(report.historyFile), { recursive: true });
    }
    expect(found.filter((name) => defect.found.includes(name))).not.toEqual([]);
  },
);
