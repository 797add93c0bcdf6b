import { expect, setDefaultTimeout, test } from "bun:test";
import { optionsFromEnvironment, report } from "../replay.ts";
import { PublicBench } from "./public-bench.ts";
import { type PublicFocus, publicFocuses } from "./public-commands.ts";
import { runPublicModel } from "./run-public-model.ts";

setDefaultTimeout(3_600_000);

/** Runs and shortening end then, unless more were asked for. */
const withinMs = 16_000;
const file = "tests/model/public/public.test";

/** Holds the laws against runs of one focus; resolves with what is to be told. */
async function hold(focus: PublicFocus, kind: "app" | "process", runs: number): Promise<string> {
  const name = kind === "app" ? focus : `killed ${focus}`;
  const options = optionsFromEnvironment(name, { runs, commands: 15 });
  if (options === undefined) return "everything agreed";
  await using bench = await PublicBench.open({ kind });
  const isHunt = process.env["MODEL_RUNS"] !== undefined || options.path !== undefined;
  const beganAt = performance.now();
  const countDone = () => [...bench.done.values()].reduce((sum, count) => sum + count, 0);
  const isEnough = () => countDone() > 0;
  const limited = isHunt ? options : { ...options, withinMs, isEnough };
  const verdict = await runPublicModel(bench, publicFocuses[focus], limited);
  const done = countDone();
  const seconds = ((performance.now() - beganAt) / 1_000).toFixed(1);
  console.log(`${report(verdict, name, file)}; ${done} commands of ${bench.done.size} kinds in ${seconds} s`);
  if (options.path === undefined) expect(done).toBeGreaterThan(0);
  return report(verdict, name, file);
}

// Most of the time of a run goes by in waiting, so all are at work together.
test("[I13][I14][I15][I16][I17][I18][I21] what users are promised holds, whatever members crash at whatever statement", async () => {
  const focuses = Object.keys(publicFocuses) as PublicFocus[];
  const verdicts = await Promise.all(focuses.map((focus) => hold(focus, "app", 12)));
  for (const verdict of verdicts) expect(verdict).toEndWith("everything agreed");
});

test("[I13][I14][I15][I21] what users are promised holds when members are processes that are killed", async () => {
  const verdicts = await Promise.all((["crashing", "failing"] as const).map((focus) => hold(focus, "process", 12)));
  for (const verdict of verdicts) expect(verdict).toEndWith("everything agreed");
});
