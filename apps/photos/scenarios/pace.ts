import { type Claim, claim, type Scenario, table } from "@sluice/app-kit";
import { Run, type ScenarioParts } from "./run.ts";

/** The hours of the day, all within a minute: recognition lives in a time zone where it is just busy, normal or idle. */
export function pace(parts: ScenarioParts, count = 3): Scenario {
  return {
    name: "pace",
    title: "By the hours of the day",
    what: `${count} photos in busy hours, ${count} in normal and ${count} in idle ones: recognition is started in a time zone where it is just 13, 20 or 2 o'clock. In busy hours it leaves five seconds between two photos, in normal ones half of that, in idle ones none.`,
    async run({ log, signal }) {
      const found: { window: string; seconds: number }[] = [];
      const claims: Claim[] = [];
      for (const name of ["busy", "normal", "idle"] as const) {
        const run = new Run(parts, signal);
        await run.recognisers(1, name);
        const [hours] = await parts.database.sql<{ window: string | null }[]>`
          select h."window" from sluice.hours h join sluice.lag l on l.owner = h.name where h."group" = 'faces' limit 1`;
        await run.upload(count);
        const outcomes = await run.settled();
        const times = outcomes.map((one) => one.at);
        const seconds = Math.max(...times) - Math.min(...times);
        found.push({ window: hours?.window ?? "normal", seconds });
        log(`${name}: ${seconds.toFixed(1)} s from the first to the last`);
        claims.push(...run.lastClaims(outcomes, `${name}: `));
      }
      const [busy = Number.NaN, normal = Number.NaN, idle = Number.NaN] = found.map((one) => one.seconds);
      const windows = found.map(({ window }) => window).join(", ");
      const ratio = (one: number, other: number) => `${(one / other).toFixed(1)} times as long`;
      const rows = found.map((one) => [one.window, `${one.seconds.toFixed(1)} s`]);
      return {
        report: table([["hours", "first to last"], ...rows], ["left", "right"]),
        claims: [
          claim("the hours were in force", windows, "busy, normal, idle", windows === "busy, normal, idle"),
          claim("busy hours are slower than normal ones", ratio(busy, normal), "at least 1.3", busy >= 1.3 * normal),
          claim("and slower than idle ones", ratio(busy, idle), "at least 1.3", busy >= 1.3 * idle),
          ...claims,
        ],
      };
    },
  };
}
