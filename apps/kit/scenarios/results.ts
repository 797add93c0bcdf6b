import type { Database } from "../database.ts";
import { table } from "../report/table.ts";
import type { Claim, JudgedResult } from "./scenario.ts";

/** Keeps a result, and the newest 20 of its scenario. */
export async function keepResult(
  { sql }: Database,
  app: string,
  scenario: string,
  { passed, claims, report }: JudgedResult,
): Promise<void> {
  await sql`
    with kept as (
      insert into sample.results (app, scenario, passed, claims, report)
      values (${app}, ${scenario}, ${passed}, ${JSON.stringify(claims)}::text::jsonb, ${report.slice(0, 100_000)})
      returning result)
    delete from sample.results where app = ${app} and scenario = ${scenario} and result < (
      select min(result) from (
        select result from sample.results where app = ${app} and scenario = ${scenario} order by result desc limit 19) newest)`;
}

/** The last result of each of the app's scenarios, by name. */
export async function lastResults({ sql }: Database, app: string): Promise<ReadonlyMap<string, JudgedResult>> {
  const rows = await sql<
    { scenario: string; passed: boolean; claims: Claim[]; report: string; ended_at: string }[]
  >`select distinct on (scenario) scenario, passed, claims, report, ended_at from sample.results
    where app = ${app} order by scenario, result desc`;
  return new Map(
    rows.map(({ scenario, passed, claims, report, ended_at }) => [
      scenario,
      { passed, claims, report, endedAt: new Date(ended_at).toISOString() },
    ]),
  );
}

/** A result for the terminal: the report, its claims as a table, and the judgement. */
export function resultText(title: string, { passed, claims, report }: JudgedResult): string {
  const rows = claims.map(({ claim, measured, goal, held }) => [held ? "✓" : "✗", claim, measured, goal]);
  return [
    `${title}`,
    "═".repeat(title.length),
    "",
    ...(report === "" ? [] : [report.trimEnd(), ""]),
    table([["", "claim", "measured", "goal"], ...rows]),
    "",
    passed ? "PASSED" : "FAILED: what is marked ✗ did not hold.",
    "",
  ].join("\n");
}
