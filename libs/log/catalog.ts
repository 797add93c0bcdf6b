import { type AnyTopic, basePartitions, type Overflow } from "@sluice/contract";
import { limits, SluiceError } from "@sluice/kernel";
import type { Pool } from "@sluice/store";
import createQueueStatement from "./sql/create-queue.sql" with { type: "text" };
import createTopicStatement from "./sql/create-topic.sql" with { type: "text" };
import findTopicStatement from "./sql/find-topic.sql" with { type: "text" };
import guardTopicStatement from "./sql/guard-topic.sql" with { type: "text" };
import listTopicsStatement from "./sql/list-topics.sql" with { type: "text" };
import raisePrioritiesStatement from "./sql/raise-priorities.sql" with { type: "text" };

/** A topic as the database knows it. */
export interface TopicEntry {
  /** Names its tables; never reused. */
  readonly number: number;
  readonly name: string;
  /** Of the log: as many for each priority as keys are spread over. */
  readonly partitions: number;
  /** 1: none. */
  readonly priorities: number;
  readonly encoding: "json" | "bytes";
  readonly guards: StoredGuards;
}

/** What a topic refuses, forgets and bounds in this database; `null` where it does not. */
export interface StoredGuards {
  readonly deduplicateMs: number | null;
  readonly maxDepth: number | null;
  readonly timeToLiveMs: number | null;
  readonly overflow: Overflow;
  /** Whether messages are dropped to make room, or were: what consumes it has to ask {@link Log.droppedBelow}. */
  readonly drops: boolean;
}

type TopicRow = {
  topic: number;
  name: string;
  partitions: number;
  priorities: number;
  encoding: "json" | "bytes";
  deduplicate_ms: string | null;
  max_depth: string | null;
  time_to_live_ms: string | null;
  overflow: Overflow | null;
  drops: boolean;
};

/**
 * The database's entry of a declared topic, created first if there is none and `create` allows it.
 *
 * Fails with UNKNOWN_TOPIC when it is not there and may not be created, and with INVALID_OPTIONS when the one that is there
 * holds bytes and the declaration JSON, or the other way round.
 *
 * A declaration with more priorities than the topic has gives it more, where `create` allows it. That is refused, with
 * INVALID_OPTIONS, while the topic is consumed.
 *
 * Guards that the declaration names become the topic's, where `create` allows it; one that names none leaves them as they are.
 */
export async function openTopic(
  pool: Pool,
  topic: AnyTopic,
  options: { readonly create: boolean },
): Promise<TopicEntry> {
  let row = (await find(pool, topic)) ?? (options.create ? await create(pool, topic) : undefined);
  if (row === undefined) {
    throw new SluiceError(
      "UNKNOWN_TOPIC",
      `there is no topic ${topic.name} in this database, and this process may not create topics. Nothing was written. ` +
        `Create it with: select sluice.create_topic('${topic.name}', ${topic.partitions});`,
    );
  }
  if (row.encoding !== topic.storage.encoding) {
    throw new SluiceError(
      "INVALID_OPTIONS",
      `topic ${topic.name} holds ${row.encoding} in this database, but its declaration says ${topic.storage.encoding}`,
    );
  }
  if (topic.priorities > row.priorities) row = await raise(pool, topic, row, options.create);
  if (options.create && changesGuards(topic, row)) row = (await guard(pool, topic)) ?? row;
  return toEntry(row);
}

/** Every topic of the database. */
export async function listTopics(pool: Pool): Promise<readonly TopicEntry[]> {
  const rows = await pool.query<TopicRow>("listing topics", listTopicsStatement);
  return rows.map(toEntry);
}

function toEntry(row: TopicRow): TopicEntry {
  const { name, partitions, priorities, encoding } = row;
  return { number: row.topic, name, partitions, priorities, encoding, guards: guardsOf(row) };
}

function guardsOf(row: TopicRow): StoredGuards {
  const number = (text: string | null) => (text === null ? null : Number(text));
  return {
    deduplicateMs: number(row.deduplicate_ms),
    maxDepth: number(row.max_depth),
    timeToLiveMs: number(row.time_to_live_ms),
    overflow: row.overflow ?? "reject",
    drops: row.drops,
  };
}

function changesGuards({ guards }: AnyTopic, row: TopicRow): boolean {
  const { deduplicateMs, maxDepth, timeToLiveMs, overflow } = guards;
  if (deduplicateMs === null && maxDepth === null && timeToLiveMs === null) return false;
  const stored = guardsOf(row);
  return (
    stored.deduplicateMs !== deduplicateMs ||
    stored.maxDepth !== maxDepth ||
    stored.timeToLiveMs !== timeToLiveMs ||
    stored.overflow !== overflow
  );
}

async function guard(pool: Pool, topic: AnyTopic): Promise<TopicRow | undefined> {
  const { deduplicateMs, maxDepth, timeToLiveMs, overflow } = topic.guards;
  const parameters = [topic.name, deduplicateMs, maxDepth, timeToLiveMs, overflow];
  await pool.query(`guarding topic ${topic.name}`, guardTopicStatement, parameters);
  return await find(pool, topic);
}

async function raise(pool: Pool, topic: AnyTopic, row: TopicRow, mayRaise: boolean): Promise<TopicRow> {
  const partitions = basePartitions(row);
  const refuse = (why: string, cause?: unknown) =>
    new SluiceError(
      "INVALID_OPTIONS",
      `topic ${topic.name} has ${row.priorities} priorities in this database and is declared with ${topic.priorities}, ${why}. Nothing was changed or sent.`,
      { cause },
    );
  if (!mayRaise) {
    const statement = `select sluice.raise_priorities('${topic.name}', ${topic.priorities})`;
    throw refuse(`which this process may not give it; while no app consumes it: ${statement}`);
  }
  if (partitions * topic.priorities > limits.partitions) {
    throw refuse(
      `which its ${partitions} partitions do not allow: the log of a topic has ${limits.partitions} at most`,
    );
  }
  try {
    const what = `raising the priorities of topic ${topic.name}`;
    await pool.query(what, raisePrioritiesStatement, [topic.name, topic.priorities]);
  } catch (error) {
    const objectInUse = "55006";
    if (!(error instanceof SluiceError) || error.sqlState !== objectInUse) throw error;
    throw refuse("which it cannot get while apps consume it: stop those first, then start this one", error);
  }
  return (await find(pool, topic)) ?? row;
}

async function find(pool: Pool, topic: AnyTopic): Promise<TopicRow | undefined> {
  const rows = await pool.query<TopicRow>(`looking up topic ${topic.name}`, findTopicStatement, [topic.name]);
  return rows[0];
}

async function create(pool: Pool, topic: AnyTopic): Promise<TopicRow | undefined> {
  const { encoding, compression, retentionMs, retentionBytes, segmentMs, segmentBytes } = topic.storage;
  const statement = topic.storage.retentionConsumed ? createQueueStatement : createTopicStatement;
  await pool.query(`creating topic ${topic.name}`, statement, [
    topic.name,
    topic.partitions,
    encoding,
    compression,
    retentionMs,
    retentionBytes,
    segmentMs,
    segmentBytes,
  ]);
  return await find(pool, topic);
}
