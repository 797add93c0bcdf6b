import { Buffer } from "node:buffer";
import { type Duration, isSluiceError, limits, type Problem, parseDurationMs, problemsError } from "@sluice/kernel";
import { type Cadence, cadenceProblem, isTimeZone } from "./cadence.ts";
import { priorityProblem } from "./priority.ts";
import type { Headers } from "./record.ts";
import type { AnyTopic, Topic } from "./topic.ts";
import { isUnstorable } from "./value.ts";

/** What becomes of ticks that passed while no app ran; see {@link ScheduleOptions.missed}. */
export type MissedTicks = "skip" | "once" | "all";

/** What a schedule may be declared with: `cron` or `every`, and what to send. */
export interface ScheduleOptions<Value> {
  /** Names it in the database, for all apps. 1 to 120 characters. */
  readonly name: string;
  /** Five fields, `"0 9 * * 1-5"`, or six with seconds first, or `"@daily"` and the like. */
  readonly cron?: string;
  /** Instead of a cron: a span from a second to 366 days; ticks are counted from 1970, so `"15m"` comes on the quarter hours. */
  readonly every?: Duration;
  /** Of the cron; an IANA name. Default `"UTC"`. */
  readonly timeZone?: string;
  /** What is sent. A constant, because it is kept in the database, where a function cannot be. */
  readonly value: Value;
  /** Default: what the topic's `key` function says of the value. */
  readonly key?: string | null;
  /** Default: what the topic's `priority` function says of the value. */
  readonly priority?: number;
  /** Go with every message, beside `sluice-schedule` (the name) and `sluice-tick` (the tick's time, ISO 8601). */
  readonly headers?: Headers;
  /**
   * Ticks that passed while no app ran: `"skip"` (the default) leaves them out, except the last one if it is less than 30
   * seconds old; `"once"` sends one message, for the last of them; `"all"` sends one each, the last 1,000 at most.
   */
  readonly missed?: MissedTicks;
}

/** A declared schedule. Make one with {@link schedule}. */
export interface Schedule {
  readonly topic: AnyTopic;
  readonly name: string;
  readonly cadence: Cadence;
  /** As JSON, as it is kept. */
  readonly value: string;
  readonly key: string | null;
  readonly headers: Headers;
  readonly missed: MissedTicks;
  readonly priority: number;
}

/** Headers that a schedule's message gets: these names are taken. */
const ownHeaders = ["sluice-schedule", "sluice-tick"];
/** Left free of what headers may take, for those of its own. */
const ownHeadersBytes = 512;
const longestEveryMs = 366 * 86_400_000;

/**
 * Declares a message that is sent by the clock, once per tick however many processes run. Nothing is sent until an app that
 * holds it starts; from then on any running app sends it.
 *
 * Fails with INVALID_OPTIONS and every problem at once: an expression that does not parse or never comes, a time zone that
 * nobody knows, a value that does not fit the topic's schema.
 *
 * @example
 * const digest = schedule(digests, { name: "morning digest", cron: "0 9 * * 1-5", timeZone: "Europe/Berlin", value: { kind: "short" } })
 */
export function schedule<T extends AnyTopic>(
  to: T,
  options: ScheduleOptions<T extends Topic<infer Value> ? Value : never>,
): Schedule {
  const problems: Problem[] = [];
  const require = (holds: boolean, path: string, message: string) => {
    if (!holds) problems.push({ path, message });
  };
  const { name, missed = "skip", headers = {} } = options;
  require(typeof name === "string" &&
    name.length >= 1 &&
    name.length <= limits.scheduleNameCharacters &&
    !isUnstorable(name), "name", `must be 1 to ${limits.scheduleNameCharacters} characters`);
  require(["skip", "once", "all"].includes(missed), "missed", 'must be "skip", "once" or "all"');
  const cadence = cadenceOf(options, problems);
  const value = encode(to, options.value, problems);
  const key = keyOf(to, options.key, options.value, problems);
  const priority = priorityOf(to, options.priority, options.value, problems);
  checkHeaders(headers, problems);
  if (problems.length > 0) {
    const subject = `schedule ${JSON.stringify(name)} of topic ${to.name} is not declared well:`;
    throw problemsError("INVALID_OPTIONS", subject, problems);
  }
  return { topic: to, name, cadence, value, key, headers, missed, priority };
}

function cadenceOf(
  { cron, every, timeZone = "UTC" }: Pick<ScheduleOptions<unknown>, "cron" | "every" | "timeZone">,
  problems: Problem[],
): Cadence {
  if ((cron === undefined) === (every === undefined)) {
    problems.push({ path: "cron", message: "or every must be given, one of the two" });
  }
  const known = typeof timeZone === "string" && isTimeZone(timeZone);
  if (!known) problems.push({ path: "timeZone", message: 'must be a time zone such as "Europe/Berlin"' });
  if (every !== undefined) {
    const everyMs = parseDurationMs(every);
    if (everyMs === undefined || everyMs < 1_000 || everyMs > longestEveryMs) {
      problems.push({ path: "every", message: "must be a duration from a second to 366 days" });
    }
    if (timeZone !== "UTC") problems.push({ path: "timeZone", message: "belongs to cron: every is counted in UTC" });
    return { cron: null, timeZone: "UTC", everyMs: everyMs ?? 0 };
  }
  const cadence = { cron: typeof cron === "string" ? cron.trim() : "", timeZone, everyMs: null };
  const problem = cron === undefined || !known ? undefined : cadenceProblem(cadence);
  if (problem !== undefined) problems.push({ path: "cron", message: problem });
  else if (cadence.cron.length > limits.cronCharacters) {
    problems.push({ path: "cron", message: `must be at most ${limits.cronCharacters} characters` });
  }
  return cadence;
}

function encode(topic: AnyTopic, value: unknown, problems: Problem[]): string {
  if (typeof value === "function") {
    problems.push({
      path: "value",
      message: "must be a constant: it is kept in the database, where a function cannot be",
    });
    return "";
  }
  try {
    const text = topic.codec.encode(value);
    if (Buffer.byteLength(text) > topic.maxValueBytes) {
      problems.push({ path: "value", message: `is larger than ${topic.maxValueBytes} bytes` });
    }
    return text;
  } catch (error) {
    if (!isSluiceError(error)) throw error;
    for (const { path, message } of error.problems) {
      problems.push({ path: path === "" ? "value" : `value.${path}`, message });
    }
    if (error.problems.length === 0) problems.push({ path: "value", message: error.message });
    return "";
  }
}

function keyOf(topic: AnyTopic, given: unknown, value: unknown, problems: Problem[]): string | null {
  // The key function may rely on what the schema says, so a value that does not fit is not shown to it.
  if (given === undefined && problems.some(({ path }) => path.startsWith("value"))) return null;
  const key: unknown = given === undefined ? topic.key(value) : given;
  if (key === null) return null;
  if (typeof key !== "string" || isUnstorable(key) || Buffer.byteLength(key) > limits.keyBytes) {
    const message = `must be null or text of at most ${limits.keyBytes} bytes, without NUL characters or lone surrogates`;
    problems.push({ path: "key", message });
    return null;
  }
  return key;
}

function priorityOf(topic: AnyTopic, given: unknown, value: unknown, problems: Problem[]): number {
  if (given === undefined && problems.some(({ path }) => path.startsWith("value"))) return 0;
  const priority: unknown = given === undefined ? topic.priority(value) : given;
  const message = priorityProblem(topic, priority);
  if (message !== undefined) problems.push({ path: "priority", message });
  return message === undefined ? (priority as number) : 0;
}

function checkHeaders(headers: Headers, problems: Problem[]): void {
  for (const [name, header] of Object.entries(headers)) {
    const path = `headers.${name}`;
    if (ownHeaders.includes(name)) problems.push({ path, message: "is a header that every schedule sets itself" });
    if (typeof header !== "string" || isUnstorable(name) || isUnstorable(header)) {
      problems.push({ path, message: "must be text without NUL characters or lone surrogates" });
    }
  }
  const most = limits.headersBytes - ownHeadersBytes;
  if (Buffer.byteLength(JSON.stringify(headers)) > most) {
    problems.push({ path: "headers", message: `must be at most ${most} bytes as JSON` });
  }
}
