import { type Duration, limits, type Problem, parseDurationMs, problemsError } from "@sluice/kernel";
import type { z } from "zod";
import { type GuardOptions, guardProblems, type TopicGuards, toGuards } from "./guards.ts";
import { keyHash, type PartitionerFactory } from "./partitioner.ts";
import { type PriorityOptions, priorityProblems } from "./priority.ts";
import { schemaProblem, type ValueCodec, valueCodec } from "./value.ts";

/** What a topic may be declared with. */
export interface TopicOptions<Value, Reply = never> extends GuardOptions<Value>, PriorityOptions<Value> {
  /** What every value must fit, at the producer's edge and again before a handler sees it. Its wire form must be JSON. */
  readonly schema: z.ZodType<Value>;
  /**
   * What every answer to a message of this topic must fit, at the handler's edge and again before `request` resolves with it.
   * Default: messages of this topic get no answers.
   */
  readonly replies?: z.ZodType<Reply>;
  /** What stays in order, and what picks the partition. Default: no key, so records spread evenly. */
  readonly key?: (value: Value) => string | null;
  /**
   * How many partitions the topic gets when it is created, from 1 to 1,024; default 8. It bounds how many owners a group
   * can have. A topic that exists keeps what it has.
   */
  readonly partitions?: number;
  /** Default {@link keyHash}. */
  readonly partitioner?: PartitionerFactory;
  /** When old segments are dropped, whole. Default: never. */
  readonly retention?: {
    /** A segment goes when its newest record is older than this. */
    readonly time?: Duration;
    /** The oldest segments go while the topic takes more than this on disk. */
    readonly bytes?: number;
    /**
     * The topic is a queue: a segment goes as soon as every group that has a position in the topic has passed it. While no
     * group has, nothing goes. `time` and `bytes`, where they are given, bound it all the same. Default false.
     */
    readonly consumed?: boolean;
  };
  /** When a segment is closed and the next begun: at this age or this size. Default one day (a minute for a queue), 1 GiB. */
  readonly segment?: { readonly time?: Duration; readonly bytes?: number };
  /** Bytes of one value as JSON; default and most 1 MiB. */
  readonly maxValueBytes?: number;
  /**
   * How the server packs batches: `"auto"` (the default) is lz4 where the server has it and none where it has not,
   * because pglz costs more time than it saves; `"pglz"` where disk is dearer than time; `"none"`.
   */
  readonly compression?: "auto" | "pglz" | "none";
}

/**
 * A declared topic: a typed value that producers and consumers share. Make one with {@link topic}. `Reply` is what answers to
 * its messages are; `never` where there are none, `unknown` where it does not matter.
 */
export interface Topic<Value, Reply = unknown> {
  readonly name: string;
  /** Those that keys are spread over; the log has so many for each priority. */
  readonly partitions: number;
  /** 1: none. */
  readonly priorities: number;
  readonly key: (value: Value) => string | null;
  readonly priority: (value: Value) => number;
  readonly partitioner: PartitionerFactory;
  readonly codec: ValueCodec<Value>;
  /** `null`: its messages get no answers. */
  readonly replies: ValueCodec<Reply> | null;
  readonly maxValueBytes: number;
  readonly storage: TopicStorage;
  readonly guards: TopicGuards<Value>;
}

/** What of a topic's declaration is kept in the database. */
export interface TopicStorage {
  readonly encoding: "json" | "bytes";
  readonly compression: "auto" | "pglz" | "none";
  readonly retentionMs: number | null;
  readonly retentionBytes: number | null;
  readonly retentionConsumed: boolean;
  readonly segmentMs: number;
  readonly segmentBytes: number;
}

/** A topic whose value type does not matter: for lists of them. */
// biome-ignore lint/suspicious/noExplicitAny: Topic is invariant in its value, so no other type holds them all
export type AnyTopic = Topic<any>;

/** The type of a topic's values: `ValueOf<typeof signups>`. */
export type ValueOf<T extends AnyTopic> = T extends Topic<infer Value> ? Value : never;

/** The type of the answers to a topic's messages: `ReplyOf<typeof prices>`; `never` when it has none. */
// biome-ignore lint/suspicious/noExplicitAny: whatever its values are
export type ReplyOf<T extends AnyTopic> = T extends Topic<any, infer Reply> ? Reply : never;

/**
 * Declares a topic. Nothing is written until an app that names it connects.
 *
 * Fails with INVALID_OPTIONS and every problem at once.
 *
 * @param name 1 to 63 letters, digits, `.`, `_` or `-`, beginning with a letter or digit; its SQL view is `topics."name"`
 *
 * @example
 * const signups = topic("signups", {
 *   schema: z.object({ userId: z.string(), email: z.email() }),
 *   key: (signup) => signup.userId,
 *   partitions: 8,
 *   retention: { time: "7d" },
 * })
 */
export function topic<Value, Reply = never>(name: string, options: TopicOptions<Value, Reply>): Topic<Value, Reply> {
  const problems = topicProblems(name, options);
  if (problems.length > 0) {
    throw problemsError("INVALID_OPTIONS", `topic ${JSON.stringify(name)} is not declared well:`, problems);
  }
  const codec = valueCodec(`topic ${name}`, options.schema);
  return {
    name,
    partitions: options.partitions ?? 8,
    priorities: options.priorities ?? 1,
    key: options.key ?? (() => null),
    priority: options.priority ?? (() => 0),
    partitioner: options.partitioner ?? keyHash,
    codec,
    replies: options.replies === undefined ? null : valueCodec(`the replies of topic ${name}`, options.replies),
    maxValueBytes: options.maxValueBytes ?? limits.valueBytes,
    storage: {
      encoding: codec.encoding,
      compression: options.compression ?? "auto",
      retentionMs: options.retention?.time === undefined ? null : (parseDurationMs(options.retention.time) ?? null),
      retentionBytes: options.retention?.bytes ?? null,
      retentionConsumed: options.retention?.consumed ?? false,
      segmentMs: parseDurationMs(options.segment?.time ?? (options.retention?.consumed === true ? "1m" : "1d")) ?? 0,
      segmentBytes: options.segment?.bytes ?? 2 ** 30,
    },
    guards: toGuards(options),
  };
}

function topicProblems<Value, Reply>(name: string, options: TopicOptions<Value, Reply>): Problem[] {
  const problems: Problem[] = [];
  const require = (holds: boolean, path: string, message: string) => {
    if (!holds) problems.push({ path, message });
  };
  const isCount = (value: unknown, most: number) =>
    value === undefined || (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= most);
  const isSpan = (value: unknown) => value === undefined || (parseDurationMs(value) ?? 0) > 0;

  require(new RegExp(`^[A-Za-z0-9][A-Za-z0-9._-]{0,${limits.topicNameCharacters - 1}}$`).test(
    name,
  ), "name", `must be 1 to ${limits.topicNameCharacters} letters, digits, ".", "_" or "-", beginning with a letter or digit`);
  const schema = options.schema === undefined ? "is missing" : schemaProblem(options.schema);
  if (schema !== undefined) problems.push({ path: "schema", message: schema });
  const replies = options.replies === undefined ? undefined : schemaProblem(options.replies);
  if (replies !== undefined) problems.push({ path: "replies", message: replies });
  require(isCount(
    options.partitions,
    limits.partitions,
  ), "partitions", `must be a whole number from 1 to ${limits.partitions}`);
  require(options.key === undefined || typeof options.key === "function", "key", "must be a function of the value");
  require(isSpan(options.retention?.time), "retention.time", 'must be a duration above zero, such as "7d"');
  require(isCount(
    options.retention?.bytes,
    Number.MAX_SAFE_INTEGER,
  ), "retention.bytes", "must be a whole number of bytes above zero");
  require([undefined, true, false].includes(
    options.retention?.consumed,
  ), "retention.consumed", "must be true or false");
  require(isSpan(options.segment?.time), "segment.time", 'must be a duration above zero, such as "1d"');
  require(isCount(
    options.segment?.bytes,
    Number.MAX_SAFE_INTEGER,
  ), "segment.bytes", "must be a whole number of bytes above zero");
  require(isCount(
    options.maxValueBytes,
    limits.valueBytes,
  ), "maxValueBytes", `must be a whole number from 1 to ${limits.valueBytes}`);
  require(options.compression === undefined ||
    ["auto", "pglz", "none"].includes(options.compression), "compression", 'must be "auto", "pglz" or "none"');
  problems.push(...guardProblems(options), ...priorityProblems(options));
  return problems;
}
