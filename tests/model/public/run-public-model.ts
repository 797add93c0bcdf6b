import fc from "fast-check";
import { check, type RunOptions, type Verdict } from "../replay.ts";
import type { PublicBench } from "./public-bench.ts";
import { publicCommands } from "./public-commands.ts";
import { PublicModel } from "./public-model.ts";
import { PublicSystem } from "./public-system.ts";

/**
 * Runs commands against the model and the system, in many runs; a failing one is made as short as possible. Each begins with one member, and
 * ends when what was paused is resumed and everything has settled.
 */
export function runPublicModel(
  bench: PublicBench,
  weights: Readonly<Record<string, number>>,
  options: RunOptions,
): Promise<Verdict> {
  return check(options, publicCommands(weights), async (commands) => {
    const system = new PublicSystem(bench);
    try {
      const model = new PublicModel();
      await system.start(model);
      await fc.asyncModelRun(() => ({ model: { model }, real: system }), commands);
      for (const group of model.groups.values()) {
        if (group.isPaused) await bench.sluice.groups.resume(system.groupOf(group.name));
        group.isPaused = false;
      }
      await system.settle(model);
    } finally {
      await system.close();
    }
  });
}
