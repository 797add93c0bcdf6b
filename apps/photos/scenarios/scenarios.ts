import type { Scenario } from "@sluice/app-kit";
import { decoupling } from "./decoupling.ts";
import { find } from "./find.ts";
import { pace } from "./pace.ts";
import { processes } from "./processes.ts";
import type { ScenarioParts } from "./run.ts";

/** In the order in which `--once` runs them. Afterwards recognition goes on as before: as many processes, the same clock. */
export function photoScenarios(parts: ScenarioParts): readonly Scenario[] {
  const { recognisers } = parts;
  return [decoupling, find, processes, pace].map((make) => {
    const scenario = make(parts);
    const run: Scenario["run"] = async (context) => {
      const [count, hours] = [recognisers.processes.count, recognisers.hours];
      try {
        return await scenario.run(context);
      } finally {
        await recognisers.set(count, hours);
      }
    };
    return { ...scenario, run };
  });
}
