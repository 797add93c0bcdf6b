import { type MainContext, ownProcess, table } from "@sluice/app-kit";
import { type SampleApp, sampleApps } from "./apps.ts";

/** Runs every app's `--once`, one after the other, over one database. Resolves with 0 if all claims of all of them held. */
export async function runAllOnce(
  context: MainContext<unknown>,
  apps: readonly SampleApp[] = sampleApps,
): Promise<number> {
  const rows: string[][] = [["app", "what it shows", "result", "took"]];
  let worst = 0;
  for (const app of apps) {
    process.stdout.write(`\n${app.title}\n${"━".repeat(app.title.length)}\n`);
    const startedAt = performance.now();
    const variables = { DATABASE_URL: context.databaseUrl };
    const { child, ended } = ownProcess(app.main, { parameters: ["--once"], variables, output: "inherit" });
    const onStop = () => child.kill("SIGTERM");
    context.stop.addEventListener("abort", onStop);
    const code = await ended;
    context.stop.removeEventListener("abort", onStop);
    if (context.stop.aborted) return 130;
    const result = code === 0 ? "passed" : code === 1 ? "FAILED" : `FAILED with ${code ?? "a signal"}`;
    rows.push([app.name, app.title, result, `${Math.round((performance.now() - startedAt) / 1_000)} s`]);
    worst = Math.max(worst, code === 0 ? 0 : 1);
  }
  process.stdout.write(`\n${table(rows, ["left", "left", "left", "right"])}\n\n`);
  const passed = rows.filter((row) => row[2] === "passed").length;
  process.stdout.write(`${passed} of ${apps.length} apps passed\n`);
  return worst;
}
