import { arrayLiteral, type Pool } from "@sluice/store";
import pausedStatement from "./sql/paused-partitions.sql" with { type: "text" };

/** A partition of a topic, as a group sees it. */
export interface GroupPartition {
  readonly group: number;
  readonly topic: number;
  readonly partition: number;
}

/** Which partitions of topics are paused in groups: for groups that keep no positions, so that nothing else tells. */
export async function pausedPartitions(
  pool: Pool,
  topics: readonly { readonly group: number; readonly topic: number }[],
): Promise<readonly GroupPartition[]> {
  return await pool.query<GroupPartition & { readonly [name: string]: unknown }>(
    "looking for what is paused",
    pausedStatement,
    [arrayLiteral(topics.map(({ group }) => group)), arrayLiteral(topics.map(({ topic }) => topic))],
  );
}
