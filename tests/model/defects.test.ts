import { expect, setDefaultTimeout, test } from "bun:test";
import { plant } from "../invariants/rig.ts";
import { Bench } from "./bench.ts";
import { defects } from "./defects.ts";
import { report } from "./replay.ts";
import { runModel } from "./run-model.ts";

setDefaultTimeout(120_000);

const options = { seed: 20_261_121, runs: 100, commands: 12 };

test.each(defects.map((defect) => [defect.name, defect] as const))(
  "the model tells a right version from one that has %s, in a handful of commands that repeat themselves",
  async (_, { function: name, changes, commands, most }) => {
    await using bench = await Bench.open();
    const { failure: before } = await runModel(bench, commands, { ...options, runs: 1 });
    expect(before).toBeUndefined();
    await plant(bench.sql, name, ...changes);
    const found = await runModel(bench, commands, options);
    expect(found.failure?.commands.length ?? "not found").toBeLessThanOrEqual(most);
    expect(report(found, "everything", "tests/model/model")).toContain(`MODEL_SEED=${options.seed} MODEL_PATH='`);
    const again = await runModel(bench, commands, { ...options, path: found.failure?.path });
    expect(again.runs).toBe(1);
    expect(again.failure?.commands).toEqual(found.failure?.commands ?? []);
    expect(again.failure?.path).toBe(found.failure?.path ?? "");
  },
);
