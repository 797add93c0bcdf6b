import type { Database } from "../database.ts";
import { until } from "./at-rate.ts";

/** How many messages of the topic each of its groups has yet to finish; a group that has not joined is not there. */
export async function lags({ sql }: Database, topic: string): Promise<ReadonlyMap<string, number>> {
  const rows = await sql<{ group: string; lag: number }[]>`
    select "group", sum(lag)::int as lag from sluice.lag where topic = ${topic} group by "group"`;
  return new Map(rows.map((row) => [row.group, row.lag]));
}

/**
 * Waits until `holds` and these groups have finished all of the topic, after which nothing of it can be done twice any more.
 * Resolves with false when the time is over, which is a finding and no failure.
 */
export function caughtUp(
  database: Database,
  topic: string,
  groups: readonly string[],
  { deadlineMs, signal, holds = () => true }: CaughtUpOptions,
): Promise<boolean> {
  const isDone = async () => {
    if (!(await holds())) return false;
    const found = await lags(database, topic);
    return groups.every((group) => found.get(group) === 0);
  };
  return until(isDone, deadlineMs, signal);
}

/** How {@link caughtUp} waits. */
export interface CaughtUpOptions {
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
  /** What must be so first, for instance that the messages are in the log. Default: nothing. */
  readonly holds?: () => Promise<boolean> | boolean;
}
