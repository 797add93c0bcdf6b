import { expect, setDefaultTimeout, test } from "bun:test";
import { plant } from "../../invariants/rig.ts";
import { PublicBench } from "./public-bench.ts";
import { type PublicDefect, publicDefects } from "./public-defects.ts";
import { runPublicModel } from "./run-public-model.ts";

setDefaultTimeout(180_000);

const options = { seed: 20_261_121, runs: 60, commands: 12, shrinks: false };

/** What the laws say of a version that is broken so. */
async function saidOf({ name, handler, functions = {}, commands }: PublicDefect): Promise<string> {
  await using bench = await PublicBench.open({ kind: "app", defect: handler });
  for (const [broken, changes] of Object.entries(functions)) await plant(bench.sql, broken, ...changes);
  const beganAt = performance.now();
  const { failure, runs } = await runPublicModel(bench, commands, options);
  const seconds = ((performance.now() - beganAt) / 1_000).toFixed(1);
  console.log(`${name}: ${runs} runs, ${seconds} s; ${failure?.error ?? "not found"}`);
  return failure?.error ?? "not found";
}

// All at once: most of their time goes by in waiting.
test("the laws tell a right version from each that is broken on purpose", async () => {
  const isHunt = process.env["MODEL_RUNS"] !== undefined;
  const defects = publicDefects.filter(({ isRare = false }) => isHunt || !isRare);
  const said = await Promise.all(defects.map(saidOf));
  for (const [index, { found }] of defects.entries()) expect(said[index]).toMatch(found);
});
