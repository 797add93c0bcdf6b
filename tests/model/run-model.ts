import fc from "fast-check";
import { type Bench, partitions } from "./bench.ts";
import { BrokerModel } from "./broker-model.ts";
import { commandsOf, type Weights } from "./focus.ts";
import { check, type RunOptions, type Verdict } from "./replay.ts";
import { System } from "./system.ts";

/**
 * Runs commands against the model and the system, in many runs; a failing one is made as short as possible. Each begins with a group that
 * consumes the topic from its start, of which `anna` owns the first partition.
 */
export function runModel(bench: Bench, weights: Weights, options: RunOptions): Promise<Verdict> {
  return check(options, commandsOf(weights), async (commands) => {
    const system = await System.open(bench);
    try {
      const model = new BrokerModel(partitions);
      await system.join("a", "earliest");
      await system.take("a", 0, "anna");
      model.take(model.join("a", "earliest"), 0, "anna");
      await fc.asyncModelRun(() => ({ model: { model }, real: system }), commands);
    } finally {
      await system.close();
    }
  });
}
