import { SluiceError } from "@sluice/kernel";
import { arrayLiteral, type Pool, type StatementParameter } from "@sluice/store";
import type { TopicEntry } from "./catalog.ts";
import type {
  AppendEntry,
  AppendRequest,
  Log,
  PartitionEnds,
  PartitionName,
  ReadRequest,
  ReadResult,
  TrimReport,
} from "./log.ts";
import { trimTopic } from "./retention.ts";
import { SegmentReader } from "./segment-reader.ts";
import appendStatement from "./sql/append.sql" with { type: "text" };
import appendOneStatement from "./sql/append-one.sql" with { type: "text" };
import endsStatement from "./sql/ends.sql" with { type: "text" };

/** Joins the partitions' texts; JSON never holds it unescaped. Why it is so long stands in migrations/0001_log.sql. */
const recordSeparator = "\u001e".repeat(32);

/** The log in Postgres: migrations/0001_log.sql holds the other half. */
export class PostgresLog implements Log {
  readonly #pool: Pool;
  readonly #appenders: Pool;
  readonly #reader: SegmentReader;
  readonly #appendStatements = new Map<number, AppendStatements>();

  /**
   * @param appenders connections for appends alone: a lone busy sender then stays on one, whose caches know its statement.
   *   (The driver hands out a pool's idle connections in turn.) Default: the same pool.
   */
  constructor(pool: Pool, appenders: Pool = pool) {
    this.#pool = pool;
    this.#appenders = appenders;
    this.#reader = new SegmentReader(pool);
  }

  async append(request: AppendRequest): Promise<readonly number[]> {
    const { topic, entries } = request;
    const what = `appending to topic ${topic.name}`;
    const { one, many } = this.#statementsOf(topic.number);
    const [statement, batches] = entries.length === 1 ? [one, oneBatch(entries)] : [many, manyBatches(entries)];
    const rows = await this.#appenders.query<{ offsets: string }>(
      what,
      statement,
      [
        ...batches,
        request.producer,
        request.sequence,
        request.repeat,
        request.acks === "all" ? "on" : "local",
        request.ring,
      ],
      request.deadlineMs,
    );
    const offsets = rows[0]?.offsets.split(",").map(Number);
    if (offsets?.length !== entries.length) {
      throw new SluiceError("INTERNAL", `${what}: the answer does not have an offset per entry`);
    }
    return offsets;
  }

  read(request: ReadRequest): Promise<ReadResult> {
    return this.#reader.read(request);
  }

  async ends(partitions: readonly PartitionName[]): Promise<readonly PartitionEnds[]> {
    if (partitions.length === 0) return [];
    const rows = await this.#pool.query<{ topic: number; partition: number; start_offset: string; end_offset: string }>(
      "reading the ends of partitions",
      endsStatement,
      [arrayLiteral(partitions.map(({ topic }) => topic)), arrayLiteral(partitions.map(({ partition }) => partition))],
    );
    return rows.map((row) => ({
      topic: row.topic,
      partition: row.partition,
      start: Number(row.start_offset),
      end: Number(row.end_offset),
    }));
  }

  trim(topic: TopicEntry): Promise<TrimReport> {
    return trimTopic(this.#pool, topic);
  }

  #statementsOf(topic: number): AppendStatements {
    let statements = this.#appendStatements.get(topic);
    if (statements === undefined) {
      statements = {
        one: appendOneStatement.replaceAll("{topic}", String(topic)),
        many: appendStatement.replaceAll("{topic}", String(topic)),
      };
      this.#appendStatements.set(topic, statements);
    }
    return statements;
  }
}

interface AppendStatements {
  readonly one: string;
  readonly many: string;
}

function oneBatch(entries: readonly AppendEntry[]): readonly StatementParameter[] {
  const { partition, count, keys, records, attributes } = entries[0] as AppendEntry;
  return [partition, count, keys, records, attributes];
}

function manyBatches(entries: readonly AppendEntry[]): readonly StatementParameter[] {
  return [
    arrayLiteral(entries.map((entry) => entry.partition)),
    arrayLiteral(entries.map((entry) => entry.count)),
    joinOptional(entries.map((entry) => entry.keys)),
    entries.map((entry) => entry.records).join(recordSeparator),
    joinOptional(entries.map((entry) => entry.attributes)),
  ];
}

/** Partitions where nothing is set stand as an empty array among those where something is. */
function joinOptional(texts: readonly (string | null)[]): string | null {
  if (texts.every((text) => text === null)) return null;
  return texts.map((text) => text ?? "[]").join(recordSeparator);
}
