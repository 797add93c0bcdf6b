import type { Filter } from "@sluice/contract";
import { SluiceError } from "@sluice/kernel";
import type { Pool, StatementParameter } from "@sluice/store";
import type { TopicEntry } from "./catalog.ts";
import type { ReadBatch, ReadRequest, ReadResult, RecordAttributes } from "./log.ts";
import {
  type MatchingRow,
  matchingMaxBatches,
  matchingMaxRecords,
  matchingStatement,
  toMatchingBatch,
} from "./matching-batches.ts";
import readStatement from "./sql/read-batches.sql" with { type: "text" };
import readNextStatement from "./sql/read-next.sql" with { type: "text" };
import segmentsStatement from "./sql/segments.sql" with { type: "text" };

const defaultMaxBatches = 1_000;
const defaultMaxCharacters = 1_048_576;
/** A read of what comes next takes no more than this many batches, each a megabyte at most; more is for an ordinary one. */
const nextMaxBatches = 8;
/** How often one read may find a segment gone that was on the list before. Only a retention that drops them as fast as they are read gets there. */
const mostLoads = 5;

/**
 * For connections that read the log: one plan, by the primary key, whatever the statistics say. Left to itself the server plans each read of
 * a long segment anew, which takes four times as long as the read, and reads a segment that has grown fast from end to end until it is analyzed.
 */
export const readerSettings = {
  plan_cache_mode: "force_generic_plan",
  enable_seqscan: "off",
  enable_bitmapscan: "off",
  enable_sort: "off",
  // What is avoided counts as so expensive, before Postgres 18, that compiling it would seem worth while.
  jit: "off",
} as const;

interface Segment {
  readonly number: number;
  readonly starts: readonly number[];
  readonly statement: string;
  readonly nextStatement: string;
}

interface BatchRow {
  readonly [name: string]: unknown;
  readonly base_offset: string;
  readonly count: number;
  readonly appended_at_ms: string;
  readonly producer: string | null;
  readonly sequence: string | null;
  readonly keys: string | null;
  readonly records: string;
  readonly attributes: string | null;
}

type MatchingBatchRow = BatchRow & MatchingRow;

/** What was found in one segment. */
interface Scan {
  readonly batches: readonly ReadBatch[];
  /** Where it ended; where it began when there was nothing. */
  readonly end: number;
  readonly isCut: boolean;
}

/**
 * Reads batches segment by segment. It asks each segment's own table, because planning over all of a topic's
 * segments costs more than reading a small batch. Which segments there are is remembered, and looked up again when a
 * read finds nothing or a table is gone.
 */
export class SegmentReader {
  readonly #pool: Pool;
  readonly #scanners: Pool;
  readonly #segments = new Map<number, readonly Segment[]>();

  /** @param scanners for reads with a filter, which keep the server busy for longer. Default: the same pool. */
  constructor(pool: Pool, scanners: Pool = pool) {
    this.#pool = pool;
    this.#scanners = scanners;
  }

  async read(request: ReadRequest): Promise<ReadResult> {
    const known = this.#segments.get(request.topic.number);
    let result: ReadResult | undefined;
    if (known !== undefined) {
      const isNext = request.isNext && request.filter === undefined;
      result = isNext ? await this.#readNext(request, known) : await this.#readKnown(request, known);
      if (result !== undefined && (result.batches.length > 0 || result.more)) return result;
    }
    let segments = await this.#load(request.topic);
    // Segments that are still the same and of which the last was read: there is nothing.
    if (
      known !== undefined &&
      result !== undefined &&
      sameSegments(known, segments) &&
      request.from >= firstOffset(segments, request.partition)
    ) {
      return result;
    }
    for (let loads = 1; ; loads += 1) {
      const found = await this.#readKnown(request, segments);
      if (found !== undefined) return found;
      if (loads === mostLoads)
        throw new SluiceError(
          "DATABASE_CONTENTION",
          `reading topic ${request.topic.name}: its segments are dropped faster than they are read; nothing was read, and the next read begins there anew`,
        );
      // Dropped since. There may be more behind it: who is told that there is nothing takes that for done.
      segments = await this.#load(request.topic);
    }
  }

  /** `undefined` when a segment that should be there is not: retention has dropped it since. */
  async #readKnown(request: ReadRequest, segments: readonly Segment[]): Promise<ReadResult | undefined> {
    const { topic, partition } = request;
    const from = Math.max(request.from, firstOffset(segments, partition));
    for (let index = lastStartingAtOrBelow(segments, partition, from); index < segments.length; index += 1) {
      const segment = segments[index];
      if (segment === undefined) break;
      const scan =
        request.filter === undefined
          ? await this.#scan(request, segment, from)
          : await this.#scanMatching(request, segment, from, request.filter);
      if (scan === undefined) return undefined;
      if (scan.end > from) {
        return {
          batches: scan.batches,
          next: scan.end,
          more: index < segments.length - 1 || scan.isCut,
          ...(request.filter === undefined ? {} : { begin: from }),
        };
      }
    }
    this.#checkPartition(topic, partition, segments);
    return { batches: [], next: from, more: false };
  }

  /** What was appended to the newest segment since; `undefined` when that cannot be told. */
  async #readNext(request: ReadRequest, segments: readonly Segment[]): Promise<ReadResult | undefined> {
    const segment = segments.at(-1);
    if (segment === undefined || request.from < (segment.starts[request.partition] ?? 0)) return undefined;
    const parameters = [request.partition, request.from, nextMaxBatches];
    const rows = await this.#query(request.topic, segment.nextStatement, parameters);
    if (rows === undefined) return undefined;
    const batches = rows.map(toBatch);
    const last = batches.at(-1);
    if (last === undefined) return { batches, next: request.from, more: false };
    // Something is missing between: an ordinary read will say what.
    if (batches[0]?.baseOffset !== request.from) return undefined;
    return { batches, next: last.baseOffset + last.count, more: batches.length === nextMaxBatches };
  }

  async #scan(request: ReadRequest, segment: Segment, from: number): Promise<Scan | undefined> {
    const rows = await this.#query(request.topic, segment.statement, [
      request.partition,
      from,
      request.maxBatches ?? defaultMaxBatches,
      request.maxCharacters ?? defaultMaxCharacters,
    ]);
    const batches = rows?.map(toBatch).filter((batch) => batch.baseOffset + batch.count > from);
    const last = batches?.at(-1);
    return (
      batches && {
        batches,
        end: last === undefined ? from : last.baseOffset + last.count,
        isCut: isFull(request, batches),
      }
    );
  }

  async #scanMatching(request: ReadRequest, segment: Segment, from: number, filter: Filter): Promise<Scan | undefined> {
    const { text, parameters } = matchingStatement(filter);
    const rows = await this.#query<MatchingBatchRow>(
      request.topic,
      bindTo(text, request.topic, segment.number),
      [
        request.partition,
        from,
        request.maxBatches ?? matchingMaxBatches,
        request.maxCharacters ?? defaultMaxCharacters,
        matchingMaxRecords,
        ...parameters,
      ],
      this.#scanners,
    );
    if (rows === undefined) return undefined;
    const batches = rows.flatMap((row) => toMatchingBatch(row, () => toBatch(row)) ?? []);
    const last = rows.at(-1);
    return {
      batches,
      end: last === undefined ? from : Number(last.base_offset) + last.count,
      isCut: last?.more ?? false,
    };
  }

  /** `undefined` when the segment is gone. */
  async #query<Row extends BatchRow = BatchRow>(
    topic: TopicEntry,
    statement: string,
    parameters: readonly StatementParameter[],
    pool = this.#pool,
  ): Promise<readonly Row[] | undefined> {
    try {
      return await pool.query<Row>(`reading topic ${topic.name}`, statement, parameters);
    } catch (error) {
      const undefinedTable = "42P01";
      if (error instanceof SluiceError && error.sqlState === undefinedTable) return undefined;
      throw error;
    }
  }

  async #load(topic: TopicEntry): Promise<readonly Segment[]> {
    const rows = await this.#pool.query<{ segment: number; starts: string }>(
      `reading the segments of topic ${topic.name}`,
      segmentsStatement,
      [topic.number],
    );
    const segments = rows.map((row): Segment => {
      const bind = (statement: string) => bindTo(statement, topic, row.segment);
      return {
        number: row.segment,
        starts: row.starts.split(",").map(Number),
        statement: bind(readStatement),
        nextStatement: bind(readNextStatement),
      };
    });
    if (segments.length === 0) {
      throw new SluiceError("UNKNOWN_TOPIC", `topic ${topic.name} is no longer in this database`);
    }
    this.#segments.set(topic.number, segments);
    return segments;
  }

  /** A topic may have got more partitions since its entry was read. */
  #checkPartition(topic: TopicEntry, partition: number, segments: readonly Segment[]): void {
    if (partition >= 0 && partition < Math.max(topic.partitions, segments.at(-1)?.starts.length ?? 0)) return;
    throw new SluiceError(
      "INVALID_OPTIONS",
      `topic ${topic.name} has partitions 0 to ${topic.partitions - 1}, not ${partition}`,
    );
  }
}

function bindTo(statement: string, topic: TopicEntry, segment: number): string {
  return statement.replaceAll("{topic}", String(topic.number)).replaceAll("{segment}", String(segment));
}

function isFull(request: ReadRequest, batches: readonly ReadBatch[]): boolean {
  const characters = batches.reduce((sum, batch) => sum + batch.characters, 0);
  return (
    batches.length >= (request.maxBatches ?? defaultMaxBatches) ||
    characters >= (request.maxCharacters ?? defaultMaxCharacters)
  );
}

function sameSegments(before: readonly Segment[], after: readonly Segment[]): boolean {
  return before.length === after.length && before.every((segment, index) => segment.number === after[index]?.number);
}

function firstOffset(segments: readonly Segment[], partition: number): number {
  return segments[0]?.starts[partition] ?? 0;
}

function lastStartingAtOrBelow(segments: readonly Segment[], partition: number, offset: number): number {
  for (let index = segments.length - 1; index > 0; index -= 1) {
    if ((segments[index]?.starts[partition] ?? 0) <= offset) return index;
  }
  return 0;
}

function toBatch(row: BatchRow): ReadBatch {
  return {
    baseOffset: Number(row.base_offset),
    count: row.count,
    characters: row.records.length,
    appendedAtMs: Number(row.appended_at_ms),
    producer: row.producer,
    sequence: Number(row.sequence ?? 0),
    keys: row.keys === null || row.keys === "[]" ? null : (JSON.parse(row.keys) as (string | null)[]),
    values: JSON.parse(row.records) as unknown[],
    attributes:
      row.attributes === null || row.attributes === "[]"
        ? null
        : (JSON.parse(row.attributes) as (RecordAttributes | null)[]),
  };
}
