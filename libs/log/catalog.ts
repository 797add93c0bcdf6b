import type { AnyTopic } from "@sluice/contract";
import { SluiceError } from "@sluice/kernel";
import type { Pool } from "@sluice/store";
import createQueueStatement from "./sql/create-queue.sql" with { type: "text" };
import createTopicStatement from "./sql/create-topic.sql" with { type: "text" };
import findTopicStatement from "./sql/find-topic.sql" with { type: "text" };
import guardTopicStatement from "./sql/guard-topic.sql" with { type: "text" };
import listTopicsStatement from "./sql/list-topics.sql" with { type: "text" };

/** A topic as the database knows it. */
export interface TopicEntry {
  /** Names its tables; never reused. */
  readonly number: number;
  readonly name: string;
  readonly partitions: number;
  readonly encoding: "json" | "bytes";
  readonly guards: StoredGuards;
}

/** What a topic refuses, forgets and bounds in this database; `null` where it does not. */
export interface StoredGuards {
  readonly deduplicateMs: number | null;
  readonly maxDepth: number | null;
  readonly timeToLiveMs: number | null;
}

type TopicRow = {
  topic: number;
  name: string;
  partitions: number;
  encoding: "json" | "bytes";
  deduplicate_ms: string | null;
  max_depth: string | null;
  time_to_live_ms: string | null;
};

/**
 * The database's entry of a declared topic, created first if there is none and `create` allows it.
 *
 * Fails with UNKNOWN_TOPIC when it is not there and may not be created, and with INVALID_OPTIONS when the one that is there
 * holds bytes and the declaration JSON, or the other way round.
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
  if (options.create && changesGuards(topic, row)) row = (await guard(pool, topic)) ?? row;
  return toEntry(row);
}

/** Every topic of the database. */
export async function listTopics(pool: Pool): Promise<readonly TopicEntry[]> {
  const rows = await pool.query<TopicRow>("listing topics", listTopicsStatement);
  return rows.map(toEntry);
}

function toEntry(row: TopicRow): TopicEntry {
  const { name, partitions, encoding } = row;
  return { number: row.topic, name, partitions, encoding, guards: guardsOf(row) };
}

function guardsOf(row: TopicRow): StoredGuards {
  const number = (text: string | null) => (text === null ? null : Number(text));
  return {
    deduplicateMs: number(row.deduplicate_ms),
    maxDepth: number(row.max_depth),
    timeToLiveMs: number(row.time_to_live_ms),
  };
}

function changesGuards({ guards }: AnyTopic, row: TopicRow): boolean {
  const { deduplicateMs, maxDepth, timeToLiveMs } = guards;
  if (deduplicateMs === null && maxDepth === null && timeToLiveMs === null) return false;
  const stored = guardsOf(row);
  return stored.deduplicateMs !== deduplicateMs || stored.maxDepth !== maxDepth || stored.timeToLiveMs !== timeToLiveMs;
}

async function guard(pool: Pool, topic: AnyTopic): Promise<TopicRow | undefined> {
  const { deduplicateMs, maxDepth, timeToLiveMs } = topic.guards;
  const parameters = [topic.name, deduplicateMs, maxDepth, timeToLiveMs];
  await pool.query(`guarding topic ${topic.name}`, guardTopicStatement, parameters);
  return await find(pool, topic);
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
