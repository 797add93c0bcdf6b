import { SluiceError } from "@sluice/kernel";
import { arrayLiteral, type Pool } from "@sluice/store";
import { AppendHints } from "./append-hints.ts";
import { AppendStatements } from "./append-statement.ts";
import { Appenders } from "./appenders.ts";
import type { TopicEntry } from "./catalog.ts";
import { appendGuarded } from "./guarded-append.ts";
import type {
  AppendRequest,
  GuardedAnswer,
  GuardedAppendRequest,
  Log,
  PartitionEnds,
  PartitionName,
  ReadRequest,
  ReadResult,
  TrimBounds,
  TrimReport,
} from "./log.ts";
import { trimTopic } from "./retention.ts";
import { SegmentReader } from "./segment-reader.ts";
import droppedBelowStatement from "./sql/dropped-below.sql" with { type: "text" };
import endsStatement from "./sql/ends.sql" with { type: "text" };
import offsetAtStatement from "./sql/offset-at.sql" with { type: "text" };

/** The log in Postgres: migrations/0001_log.sql holds the other half. */
export class PostgresLog implements Log {
  readonly #pool: Pool;
  readonly #appenders: Appenders;
  readonly #reader: SegmentReader;
  readonly #statements = new AppendStatements();
  readonly #hints = new AppendHints();

  /**
   * @param appenders for appends alone, each of one connection. Default: the same pool.
   * @param readers connections for reads without a filter alone: a lone reader then stays on one, whose caches know its statement.
   *   (The driver hands out a pool's idle connections in turn.) Default: the same pool.
   * @param scanners connections for reads with a filter alone: they keep the server busy for longer. Default: the same pool.
   */
  constructor(pool: Pool, appenders: readonly Pool[] = [pool], readers: Pool = pool, scanners: Pool = pool) {
    this.#pool = pool;
    this.#appenders = new Appenders(appenders);
    this.#reader = new SegmentReader(readers, scanners);
  }

  async append(request: AppendRequest): Promise<readonly number[]> {
    const { topic, entries } = request;
    const what = `appending to topic ${topic.name}`;
    const { text, parameters } = this.#statements.of(request, this.#hints.of(topic.number, entries));
    const place = { topic: topic.number, follows: request.after !== null };
    const rows = await this.#appenders.query<{ offsets: string }>(place, what, text, parameters, request.deadlineMs);
    const offsets = rows[0]?.offsets.split(",").map(Number);
    if (offsets?.length !== entries.length) {
      throw new SluiceError("INTERNAL", `${what}: the answer does not have an offset per entry`);
    }
    this.#hints.note(topic.number, entries, offsets);
    return offsets;
  }

  appendGuarded(request: GuardedAppendRequest): Promise<readonly GuardedAnswer[]> {
    return appendGuarded(this.#appenders, request);
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

  async offsetAt({ topic, partition }: PartitionName, timeMs: number): Promise<number> {
    const rows = await this.#pool.query<{ offset: string | null }>("looking for a time", offsetAtStatement, [
      topic,
      partition,
      timeMs,
    ]);
    return Number(rows[0]?.offset ?? 0);
  }

  async droppedBelow({ topic, partition }: PartitionName): Promise<number> {
    const rows = await this.#pool.query<{ below: string | null }>(
      "looking for what was dropped",
      droppedBelowStatement,
      [topic, partition],
    );
    return Number(rows[0]?.below ?? 0);
  }

  trim(topic: TopicEntry, bounds: TrimBounds = {}): Promise<TrimReport> {
    return trimTopic(this.#pool, topic, bounds);
  }
}
