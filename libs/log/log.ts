import type { Filter } from "@sluice/contract";
import type { TopicEntry } from "./catalog.ts";

/**
 * The narrow waist. Everything above knows of the log only this, so that another engine can take its place while
 * positions, retries and dead letters stay in Postgres.
 */
export interface Log {
  /**
   * Appends batches to partitions of one topic: all of them or none, durable when it resolves, visible in offset order.
   * Resolves with the first offset of each entry. Repeating a call with the same producer and sequence and
   * `repeat: true` appends nothing twice and resolves with the offsets of the first time.
   */
  append(request: AppendRequest): Promise<readonly number[]>;
  /**
   * Appends records to a topic that deduplicates or is bounded: what is new and finds room, in one transaction. Resolves with
   * an answer per record; a call with the same producer and sequence gets the same answers.
   */
  appendGuarded(request: GuardedAppendRequest): Promise<readonly GuardedAnswer[]>;
  /** Batches from an offset on, dense and in order, up to what is visible; none when the offset is the end. */
  read(request: ReadRequest): Promise<ReadResult>;
  /** Where partitions begin and end. */
  ends(partitions: readonly PartitionName[]): Promise<readonly PartitionEnds[]>;
  /** The first offset that was appended at a time (milliseconds since 1970) or later; the end when there is none. */
  offsetAt(partition: PartitionName, timeMs: number): Promise<number>;
  /** Messages below were dropped to make room in a bounded topic: who has not begun them passes over them. 0: none were. */
  droppedBelow(partition: PartitionName): Promise<number>;
  /** Closes segments that are old or large enough and drops those that retention no longer needs. */
  trim(topic: TopicEntry, bounds?: TrimBounds): Promise<TrimReport>;
}

/** A partition of a topic, by number. */
export interface PartitionName {
  readonly topic: number;
  readonly partition: number;
}

/** Where a partition begins (what retention has left) and ends (the offset that the next record gets). */
export interface PartitionEnds extends PartitionName {
  readonly start: number;
  readonly end: number;
}

/** What to append, and how durably. */
export interface AppendRequest {
  readonly topic: TopicEntry;
  /** At least one; partitions ascending, each once. */
  readonly entries: readonly AppendEntry[];
  /** Who appends, with the number of the first record; together they name each record for ever. */
  readonly producer: number;
  readonly sequence: number;
  /** An earlier call with this producer and sequence may have taken effect. */
  readonly repeat: boolean;
  /**
   * Append only if the batch of this producer with this sequence is in the log, else fail with OUT_OF_SEQUENCE; `null`: in any case. It is
   * under way, over the same connection. Best one of a partition that is appended to now: the log finds it without a search.
   */
  readonly after: number | null;
  /** Whether to wait for synchronous standbys, too. */
  readonly acks: 1 | "all";
  /** What to tell listeners with the commit; `null` for nothing. */
  readonly ring: string | null;
  /** After this long it fails with DATABASE_TIMEOUT, and whether it took effect is unknown. */
  readonly deadlineMs: number;
}

/** One partition's batch: JSON arrays as text. */
export interface AppendEntry {
  readonly partition: number;
  readonly count: number;
  /** Strings and nulls; `null` when no record has a key. */
  readonly keys: string | null;
  readonly records: string;
  /** `{headers?, timestamp?}` or null per record; `null` when no record has any. */
  readonly attributes: string | null;
}

/** What to append past a topic's guard, in the order of sending. */
export interface GuardedAppendRequest
  extends Pick<AppendRequest, "topic" | "producer" | "sequence" | "acks" | "ring" | "deadlineMs"> {
  readonly records: readonly GuardedRecord[];
  /** Whether a try came before, of which nobody knows what became: a refusal then holds for that one, too. */
  readonly isRepeat: boolean;
}

/** One record of a guarded append. */
export interface GuardedRecord {
  readonly partition: number;
  /** Records of one unit lie side by side and are taken together or not at all. */
  readonly unit: number;
  /** `null`: it is new in any case. */
  readonly messageId: string | null;
  readonly key: string | null;
  /** As JSON. */
  readonly value: string;
  /** As JSON; `null` for none. */
  readonly attributes: string | null;
}

/** What became of one record of a guarded append. */
export type GuardedAnswer =
  | {
      /** `"duplicate"`: its id was sent before, and this is where the first one is. */
      readonly status: "appended" | "duplicate";
      readonly partition: number;
      readonly offset: number;
      readonly id: string;
    }
  /** There was room for so many when its unit's turn came, and it needs more. Nothing of the unit was written. */
  | { readonly status: "full"; readonly room: number };

/** Where to read. */
export interface ReadRequest {
  readonly topic: TopicEntry;
  readonly partition: number;
  readonly from: number;
  /**
   * Whether the read before ended at `from` and found no more: there is likely little to read, and a cheaper statement
   * does. Only for one who knows that no batch lies across `from`. Default false.
   */
  readonly isNext?: boolean;
  /** Rows of the log at most. Default 1,000. */
  readonly maxBatches?: number;
  /** No further batch is read once this many characters are gathered. Default 1 MiB. */
  readonly maxCharacters?: number;
  /**
   * Gives only records that it lets through. Batches without any are left out, and one read looks at a bounded number of
   * records, so that `next` may be far ahead of `from` although nothing was found.
   */
  readonly filter?: Filter;
}

/** What was read, and where to go on. */
export interface ReadResult {
  readonly batches: readonly ReadBatch[];
  /** Where to read on. Greater than `from` also when retention has dropped what was at `from`. */
  readonly next: number;
  /** Whether a limit of the request cut it short, so that there is more for sure. */
  readonly more: boolean;
  /** With a filter: where the log went on at or after `from`; greater when retention has dropped what was there. */
  readonly begin?: number;
}

/** A batch as it was appended. Its first record may lie below the offset that was asked for. */
export interface ReadBatch {
  readonly baseOffset: number;
  readonly count: number;
  /** Characters of its values as JSON. */
  readonly characters: number;
  /** Milliseconds since 1970, the database's clock. */
  readonly appendedAtMs: number;
  readonly producer: string | null;
  readonly sequence: number;
  readonly keys: readonly (string | null)[] | null;
  readonly values: readonly unknown[];
  readonly attributes: readonly (RecordAttributes | null)[] | null;
  /**
   * With a filter: the indexes of the records that it lets through, ascending, at least one. Of the others, keys, values and
   * attributes may be missing.
   */
  readonly matches?: readonly number[];
}

/** What a record carries beside key and value. */
export interface RecordAttributes {
  readonly headers?: Readonly<Record<string, string>>;
  readonly timestamp?: number;
  /** Set by the relay for what came through the outbox. */
  readonly id?: string;
  /** How long after its append it may be handed over, in milliseconds. */
  readonly timeToLive?: number;
}

/** What readers ask of retention, an offset per partition; `null`: no reader asks anything there. */
export interface TrimBounds {
  /** Nothing from here on is dropped, whatever its age and size. */
  readonly keepFrom?: readonly (number | null)[];
  /** What lies below may go whatever its age and size: the topic is a queue. Default: only age and size count. */
  readonly dropBelow?: readonly (number | null)[];
}

/** What retention did to a topic. */
export interface TrimReport {
  /** Whether a new segment was begun. */
  readonly rolled: boolean;
  /** Segments dropped. */
  readonly dropped: readonly number[];
}
