import { Buffer } from "node:buffer";
import { type AnyTopic, isUnstorable, priorityProblem, type RecordOptions, type Topic } from "@sluice/contract";
import { limits, type Problem, parseDurationMs, problemsError, SluiceError } from "@sluice/kernel";

/** A record as the log takes it. */
export interface EncodedRecord {
  readonly key: string | null;
  /** The value as JSON. */
  readonly value: string;
  /** `{headers?, timestamp?, timeToLive?}` as JSON; `null` when there is none of them. */
  readonly attributes: string | null;
  /** By which a topic that deduplicates knows it; `null` for none. */
  readonly messageId: string | null;
  /** From 0, the least urgent. */
  readonly priority: number;
}

/**
 * Checks a value and what comes with it, and encodes them. Fails with INVALID_VALUE (with paths), RECORD_TOO_LARGE or
 * INVALID_OPTIONS; nothing has been written then.
 */
export function encodeRecord<Value>(topic: Topic<Value>, value: Value, options: RecordOptions): EncodedRecord {
  const text = topic.codec.encode(value);
  // A UTF-16 unit takes at most three bytes, so short texts need no counting.
  if (text.length * 3 > topic.maxValueBytes && Buffer.byteLength(text) > topic.maxValueBytes) {
    throw tooLarge(topic, "value", Buffer.byteLength(text), topic.maxValueBytes);
  }
  const key = options.key === undefined ? topic.key(value) : options.key;
  if (key !== null) checkKey(topic, key);
  return {
    key,
    value: text,
    attributes: encodeAttributes(topic, options),
    messageId: messageIdOf(topic, value, options),
    priority: priorityOf(topic, value, options),
  };
}

/** The attributes of a record that waits beside the log first: there its message id is one of them. */
export function withMessageId({ attributes, messageId }: EncodedRecord): string | null {
  if (messageId === null) return attributes;
  const id = `"messageId":${JSON.stringify(messageId)}}`;
  return attributes === null ? `{${id}` : `${attributes.slice(0, -1)},${id}`;
}

function messageIdOf<Value>(topic: Topic<Value>, value: Value, { messageId: given }: RecordOptions): string | null {
  const { deduplicateMs, by } = topic.guards;
  if (given !== undefined && deduplicateMs === null) {
    throw new SluiceError(
      "INVALID_OPTIONS",
      `topic ${topic.name} is declared without deduplicate, so a messageId would keep nothing out; nothing was sent`,
    );
  }
  const id: unknown = given ?? by?.(value);
  if (id === undefined) return null;
  const path = given === undefined ? "deduplicate.by" : "messageId";
  if (typeof id !== "string" || id.length < 1 || id.length > limits.messageIdCharacters) {
    throw refuse(topic, [{ path, message: `must be 1 to ${limits.messageIdCharacters} characters` }]);
  }
  if (isUnstorable(id)) throw refuse(topic, [{ path, message: "holds a NUL character or a lone surrogate" }]);
  return id;
}

function priorityOf<Value>(topic: Topic<Value>, value: Value, { priority: given }: RecordOptions): number {
  if (given === undefined && topic.priorities === 1) return 0;
  const priority: unknown = given ?? topic.priority(value);
  const message = priorityProblem(topic, priority);
  if (message === undefined) return priority as number;
  throw problemsError("INVALID_OPTIONS", `a record cannot be sent; nothing was sent to topic ${topic.name}`, [
    { path: "priority", message },
  ]);
}

function checkKey(topic: AnyTopic, key: string): void {
  if (typeof key !== "string") {
    throw refuse(topic, [{ path: "key", message: `must be a string or null, not ${typeof key}` }]);
  }
  if (key.length * 3 > limits.keyBytes && Buffer.byteLength(key) > limits.keyBytes) {
    throw tooLarge(topic, "key", Buffer.byteLength(key), limits.keyBytes);
  }
  if (isUnstorable(key)) {
    throw refuse(topic, [{ path: "key", message: "holds a NUL character or a lone surrogate" }]);
  }
}

function encodeAttributes(topic: AnyTopic, options: RecordOptions): string | null {
  const { headers: given, tag, timestamp } = options;
  if (given === undefined && tag === undefined && timestamp === undefined && options.timeToLive === undefined)
    return null;
  const problems: Problem[] = [];
  const headers = tag === undefined ? given : { ...given, tag };
  if (tag !== undefined && given !== undefined && Object.hasOwn(given, "tag") && given["tag"] !== tag) {
    problems.push({ path: "tag", message: "is not the header tag, which is there too" });
  }
  const timeToLive = options.timeToLive === undefined ? undefined : parseDurationMs(options.timeToLive);
  if (options.timeToLive !== undefined && (timeToLive ?? 0) <= 0) {
    problems.push({ path: "timeToLive", message: 'must be a duration above zero, such as "1h"' });
  }
  // (One that the database cannot show would fail every query of the topic, and every failure of its handler.)
  if (timestamp !== undefined && !isTime(timestamp)) {
    problems.push({ path: "timestamp", message: "must be whole milliseconds since 1970, in the years 1 to 9999" });
  }
  for (const [name, header] of Object.entries(headers ?? {})) {
    if (typeof header !== "string") problems.push({ path: `headers.${name}`, message: "must be a string" });
    else if (isUnstorable(name) || isUnstorable(header)) {
      problems.push({ path: `headers.${name}`, message: "holds a NUL character or a lone surrogate" });
    }
  }
  if (problems.length > 0) throw refuse(topic, problems);
  const text = JSON.stringify({ headers, timestamp, timeToLive });
  const bytes = Buffer.byteLength(text);
  if (bytes > limits.headersBytes) throw tooLarge(topic, "headers", bytes, limits.headersBytes);
  return text;
}

function isTime(ms: unknown): boolean {
  return Number.isInteger(ms) && (ms as number) >= limits.firstTimeMs && (ms as number) <= limits.lastTimeMs;
}

function refuse(topic: AnyTopic, problems: readonly Problem[]): SluiceError {
  return problemsError("INVALID_VALUE", `a record cannot be sent; nothing was sent to topic ${topic.name}`, problems);
}

function tooLarge(topic: AnyTopic, what: string, bytes: number, limit: number): SluiceError {
  return new SluiceError(
    "RECORD_TOO_LARGE",
    `the ${what} has ${bytes} bytes and topic ${topic.name} takes ${limit}; nothing was sent. Keep large things elsewhere and send where they are.`,
    { problems: [{ path: what, message: `${bytes} bytes, at most ${limit}` }] },
  );
}
