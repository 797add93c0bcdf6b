import { type Duration, limits, type Problem, parseDurationMs } from "@sluice/kernel";

/** For how long a topic does not take the same message again, and how it knows that it is the same. */
export interface Deduplication<Value> {
  /** How long after a message its id is refused; at most seven days. By the database's clock. */
  readonly window: Duration;
  /** The id of a message that was sent without `messageId`: 1 to 128 characters. Default: such a message is always new. */
  readonly by?: (value: Value) => string;
}

/** What a topic may refuse, forget and bound. None of it by default, and a topic with none of it pays nothing. */
export interface GuardOptions<Value> {
  /**
   * A send whose message id (or `by`) was sent to this topic within the window appends nothing and answers with where the
   * first one is; its status is `"duplicate"`. Exact, however many processes send.
   */
  readonly deduplicate?: Deduplication<Value>;
  /** How long after its append a message may be handed over, unless the message says so itself; default for ever. */
  readonly timeToLive?: Duration;
  /**
   * How many messages may wait: those that the slowest group has not done yet, or, without any group, those that are kept.
   * From 1 to 1,000,000,000; default as many as the disk holds.
   */
  readonly maxDepth?: number;
  /**
   * What happens to a send beyond `maxDepth`. `"reject"`, the default: it fails with QUEUE_FULL and writes nothing.
   * `"drop-oldest"`: it makes room, and groups pass over the oldest messages that they have not begun.
   */
  readonly overflow?: Overflow;
}

/** What a full topic does about a send. */
export type Overflow = "reject" | "drop-oldest";

/** What a sender may say of one message. */
export interface MessageGuardOptions {
  /**
   * By which a topic with `deduplicate` knows the message: 1 to 128 characters. For one message, not for a batch of several:
   * that has `deduplicate.by`.
   */
  readonly messageId?: string;
  /** How long after its append it may be handed over; overrides the topic's. */
  readonly timeToLive?: Duration;
}

/** The guards of a declared topic; `null` where there is none. */
export interface TopicGuards<Value> {
  readonly deduplicateMs: number | null;
  readonly by: ((value: Value) => string) | null;
  readonly timeToLiveMs: number | null;
  readonly maxDepth: number | null;
  readonly overflow: Overflow;
}

/** The guards that options ask for, which must have none of {@link guardProblems}. */
export function toGuards<Value>(options: GuardOptions<Value>): TopicGuards<Value> {
  const { deduplicate, timeToLive, maxDepth, overflow } = options;
  return {
    deduplicateMs: deduplicate === undefined ? null : (parseDurationMs(deduplicate.window) ?? null),
    by: deduplicate?.by ?? null,
    timeToLiveMs: timeToLive === undefined ? null : (parseDurationMs(timeToLive) ?? null),
    maxDepth: maxDepth ?? null,
    overflow: overflow ?? "reject",
  };
}

/** Everything that is wrong with a topic's guards. */
export function guardProblems<Value>(options: GuardOptions<Value>): Problem[] {
  const { deduplicate, timeToLive, maxDepth, overflow } = options;
  const problems: Problem[] = [];
  const require = (holds: boolean, path: string, message: string) => {
    if (!holds) problems.push({ path, message });
  };
  if (deduplicate !== undefined) {
    const isObject = typeof deduplicate === "object" && deduplicate !== null;
    require(isObject, "deduplicate", 'must be an object such as { window: "5m" }');
    const windowMs = isObject ? (parseDurationMs(deduplicate.window) ?? 0) : 1;
    require(windowMs > 0 &&
      windowMs <= limits.deduplicationWindowMs, "deduplicate.window", 'must be a duration above zero and at most "7d"');
    const by: unknown = isObject ? deduplicate.by : undefined;
    require(by === undefined || typeof by === "function", "deduplicate.by", "must be a function of the value");
  }
  require(timeToLive === undefined ||
    (parseDurationMs(timeToLive) ?? 0) > 0, "timeToLive", 'must be a duration above zero, such as "1h"');
  require(maxDepth === undefined ||
    (Number.isInteger(maxDepth) &&
      maxDepth >= 1 &&
      maxDepth <= limits.topicDepth), "maxDepth", `must be a whole number from 1 to ${limits.topicDepth}`);
  require(overflow === undefined ||
    ["reject", "drop-oldest"].includes(overflow), "overflow", 'must be "reject" or "drop-oldest"');
  require(overflow === undefined || maxDepth !== undefined, "overflow", "has no meaning without maxDepth");
  return problems;
}
