import { SluiceError } from "@sluice/kernel";
import { type Pool, textArrayLiteral } from "@sluice/store";
import type { TopicEntry } from "./catalog.ts";
import type { TrimBounds, TrimReport } from "./log.ts";
import forgetStatement from "./sql/forget-segment.sql" with { type: "text" };
import orphansStatement from "./sql/orphaned-segments.sql" with { type: "text" };
import rollStatement from "./sql/roll-segment.sql" with { type: "text" };
import emptyStatement from "./sql/segment-is-empty.sql" with { type: "text" };
import candidatesStatement from "./sql/trim-candidates.sql" with { type: "text" };

const lockTimeoutMs = 1_000;

/**
 * Rolls a topic's newest segment when it is old or large enough, and drops segments that its retention no longer needs:
 * whole, oldest first, never the newest, and none that holds something from `keepFrom` on. With `dropBelow` it is a queue: a segment
 * goes as soon as all of it lies below.
 *
 * A segment is taken off the list first, then detached without blocking readers of its siblings, then dropped; each step
 * can be repeated, so a crash between two of them leaves nothing but a table that the next call removes. A lock that is
 * not to be had within a second is given up; the next call tries again.
 */
export async function trimTopic(pool: Pool, topic: TopicEntry, bounds: TrimBounds): Promise<TrimReport> {
  await dropOrphans(pool, topic);
  const candidates = await pool.query<{ segment: number; roll: boolean; drop: boolean }>(
    `looking for old segments of topic ${topic.name}`,
    candidatesStatement,
    [topic.number, offsetsLiteral(bounds.keepFrom), offsetsLiteral(bounds.dropBelow)],
  );
  let rolled = false;
  const dropped: number[] = [];
  for (const candidate of candidates) {
    if (candidate.roll && !(await isEmpty(pool, topic, candidate.segment))) {
      await pool.query(`rolling topic ${topic.name}`, rollStatement, [topic.number]);
      rolled = true;
    }
    // Only from the oldest on, without a hole: offsets below the first segment are gone, those above are there.
    if (candidate.drop && dropped.length === candidates.indexOf(candidate)) {
      await pool.query(`dropping a segment of topic ${topic.name}`, forgetStatement, [topic.number, candidate.segment]);
      dropped.push(candidate.segment);
    }
  }
  if (dropped.length > 0) await dropOrphans(pool, topic);
  return { rolled, dropped };
}

function offsetsLiteral(offsets: readonly (number | null)[] | undefined): string | null {
  return offsets === undefined ? null : textArrayLiteral(offsets.map((offset) => offset?.toString() ?? null));
}

async function isEmpty(pool: Pool, topic: TopicEntry, segment: number): Promise<boolean> {
  const statement = emptyStatement.replaceAll("{topic}", String(topic.number)).replaceAll("{segment}", String(segment));
  const rows = await pool.query<{ empty: boolean }>(`looking into topic ${topic.name}`, statement);
  return rows[0]?.empty === true;
}

/** Drops tables of segments that are no longer on the list. */
async function dropOrphans(pool: Pool, topic: TopicEntry): Promise<void> {
  const orphans = await pool.query<{ name: string; attached: boolean; detaching: boolean }>(
    `looking for dropped segments of topic ${topic.name}`,
    orphansStatement,
    [topic.number],
  );
  if (orphans.length === 0) return;
  const parent = `sluice_log.topic_${topic.number}`;
  try {
    await pool.alone(lockTimeoutMs, async (sql, isTransaction) => {
      for (const { name, attached, detaching } of orphans) {
        const table = `sluice_log.${name}`;
        // Detaching concurrently takes no lock that a reader of a sibling would wait for; dropping an attached one would. It
        // cannot be had in a transaction: there, readers wait for as long as this waits for its lock, a second at most.
        if (attached) {
          const how = detaching ? "finalize" : isTransaction ? "" : "concurrently";
          await sql.unsafe(`alter table ${parent} detach partition ${table} ${how}`);
        }
        await sql.unsafe(`drop table ${table}`);
      }
    });
  } catch (error) {
    throw new SluiceError(
      "DATABASE_CONTENTION",
      `dropping old segments of topic ${topic.name}: a table is in use; they are off the list already, and the next round removes them`,
      { cause: error },
    );
  }
}
