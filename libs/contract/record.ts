import type { MessageGuardOptions } from "./guards.ts";
import type { MessagePriorityOptions } from "./priority.ts";

/** String pairs that travel with a record, beside its value: `traceparent`, a tag, who sent it. */
export type Headers = Readonly<Record<string, string>>;

/**
 * A message as a consumer sees it.
 *
 * `(topic, partition, offset)` names it for ever: offsets are dense and never reused, so the same three always mean
 * the same value.
 */
export interface ConsumedRecord<Value> {
  readonly topic: string;
  /** Of the log. Where the topic has priorities, each partition is as many of them: `priority × partitions + partition`. */
  readonly partition: number;
  /** Position within the partition, from 0, without gaps. Exact up to 2^53. */
  readonly offset: number;
  /** What stays in order and what picked the partition; `null` when the sender gave none. */
  readonly key: string | null;
  readonly value: Value;
  readonly headers: Headers;
  /** The header `tag`: what consumers most often filter for; `null` when there is none. */
  readonly tag: string | null;
  /** Milliseconds since 1970: the sender's `timestamp` if it gave one, else the database's clock at the append. */
  readonly timestamp: number;
  /** Unique for ever and known to the sender: the same message appended twice by a retry has one id, and one offset. */
  readonly id: string;
}

/**
 * What a send waits for. `0`: nothing; the record is in this process's buffer and may be lost with it. `1`: the server has
 * it on disk. `"all"` (the default): synchronous standbys have it, too, where the server has any; until then no consumer
 * sees it.
 */
export type Acks = 0 | 1 | "all";

/** What a sender may say about one message beside its value. */
export interface RecordOptions extends MessageGuardOptions, MessagePriorityOptions {
  /** Overrides the topic's `key` function. At most 1,024 bytes; `null` for none. */
  readonly key?: string | null;
  /** Overrides the partitioner. From 0 to the topic's partitions − 1. */
  readonly partition?: number;
  /** Default none. At most 16,384 bytes as JSON. */
  readonly headers?: Headers;
  /** The same as the header `tag`. */
  readonly tag?: string;
  /** Milliseconds since 1970, in the years 1 to 9999, for {@link ConsumedRecord.timestamp}; default the database's clock at the append. */
  readonly timestamp?: number;
}

/** Where a message went. */
export interface SendResult {
  /**
   * `"appended"`: it is in the log, at `offset`. `"queued"`: it was sent inside a transaction of yours and enters the
   * log when that commits, so it has no offset yet. `"delayed"`: it enters the log when it is due; until then its `id`
   * recalls it. `"buffered"`: it was sent with `acks: 0` and nobody waits to see.
   * `"duplicate"`: its message id was sent before, nothing was appended, and `partition`, `offset` and `id` are the first one's.
   */
  readonly status: "appended" | "queued" | "delayed" | "buffered" | "duplicate";
  readonly topic: string;
  readonly partition: number;
  /** Where in the partition; `null` unless it is in the log. */
  readonly offset: number | null;
  /** See {@link ConsumedRecord.id}. */
  readonly id: string;
}
