import type { Logger } from "@sluice/kernel";
import { type Log, listTopics, type TopicEntry, type TrimBounds } from "@sluice/log";
import type { Pool } from "@sluice/store";
import boundsStatement from "./sql/retention-bounds.sql" with { type: "text" };

/** One round of the duty of retention: every topic is trimmed, with what its groups allow. */
export async function trimTopics(pool: Pool, log: Log, logger: Logger): Promise<void> {
  for (const entry of await listTopics(pool)) {
    const report = await log.trim(entry, await retentionBounds(pool, entry));
    if (report.dropped.length > 0)
      logger.log("debug", "old segments were dropped", { topic: entry.name, segments: report.dropped });
  }
}

/** What the groups of a topic allow retention to drop: nothing that a protected one needs, and of a queue what all have passed. */
export async function retentionBounds(pool: Pool, topic: TopicEntry): Promise<TrimBounds> {
  const rows = await pool.query<{
    partition: number;
    consumed_to: string | null;
    protected_from: string | null;
    is_queue: boolean;
  }>(`looking where the groups of topic ${topic.name} are`, boundsStatement, [topic.number]);
  const offset = (text: string | null) => (text === null ? null : Number(text));
  const keepFrom = rows.map((row) => offset(row.protected_from));
  if (rows[0]?.is_queue !== true) return { keepFrom };
  return { keepFrom, dropBelow: rows.map((row) => offset(row.consumed_to)) };
}
