import type { Pool } from "@sluice/store";
import statement from "./sql/forget-expired.sql" with { type: "text" };
import marksStatement from "./sql/forget-marks.sql" with { type: "text" };
import movesStatement from "./sql/forget-moves.sql" with { type: "text" };
import repliesStatement from "./sql/forget-replies.sql" with { type: "text" };
import refreshStatement from "./sql/refresh-depths.sql" with { type: "text" };

/** Rows of one table that one step removes at most. */
const stepRows = 5_000;

/** Removes message ids, appends' answers, keys and replies that have expired, in steps, each a transaction of its own. */
export async function forgetExpired(pool: Pool): Promise<void> {
  await inSteps(pool, "forgetting what has expired", statement);
  await inSteps(pool, "forgetting what has expired", repliesStatement);
}

/** Removes marks of dropped messages that a higher one has replaced, in steps. */
export async function forgetMarks(pool: Pool): Promise<void> {
  await inSteps(pool, "forgetting marks of dropped messages", marksStatement);
}

/** Removes moves of partitions and duties that are old or too many, in steps. */
export async function forgetMoves(pool: Pool): Promise<void> {
  await inSteps(pool, "forgetting moves", movesStatement);
}

/** Lets bounded topics count by their newest segment; until that is done they count a little slower. */
export async function refreshDepths(pool: Pool): Promise<void> {
  await pool.query("refreshing the depth of topics", refreshStatement);
}

async function inSteps(pool: Pool, what: string, step: string): Promise<void> {
  for (let gone = stepRows; gone === stepRows; ) {
    const rows = await pool.query<{ gone: number }>(what, step, [stepRows]);
    gone = rows[0]?.gone ?? 0;
  }
}
