import { type Duration, limits, type Problem, parseDurationMs, problemsError } from "@sluice/kernel";
import { type Backoff, exponential } from "./backoff.ts";
import { type Batching, type BatchOptions, batching, batchProblems, handlerOfOne } from "./batch.ts";
import type { BatchContext, HandlerContext } from "./context.ts";
import type { Filter } from "./filter/node.ts";
import { parseFilter, readFilter } from "./filter.ts";
import { type Hours, type HoursOptions, hoursOf, hoursProblems } from "./hours.ts";
import { type Middleware, middlewareProblem } from "./middleware.ts";
import type { AnyTopicPattern, TopicPattern } from "./pattern.ts";
import { type Place, placeText } from "./place.ts";
import { laneProblems } from "./priority.ts";
import { type RateLimit, rateLimitProblems } from "./rate-limit.ts";
import type { AnyTopic, ReplyOf, Topic } from "./topic.ts";
import { isUnstorable } from "./value.ts";

/** What a handler may do with its message. Returning means done, throwing means try again. */
export type Handler<Value, Reply = never> = (context: HandlerContext<Value, Reply>) => void | Promise<void>;

/**
 * What happens to several messages at once. Returning means that all that got no verb are done. Throwing costs none of them an
 * attempt: they are handed over again one by one, so that the one that fails is found and its neighbours go on.
 */
export type BatchHandler<Value, Reply = never> = (context: BatchContext<Value, Reply>) => void | Promise<void>;

/** How a group's position is written; see {@link ConsumerOptions.commit}. */
export type CommitMode = "interval" | "explicit";

/** Who gets a message, and in which order; see {@link ConsumerOptions.mode}. */
export type ConsumerMode = "ordered" | "keyed" | "shared" | "broadcast";

/** What a consumer may be declared with that handles message by message. */
export interface ConsumerOptions<Value, Reply = never> extends CommonOptions<Value> {
  /** What happens to each message. */
  readonly handler: Handler<Value, Reply>;
  readonly batchHandler?: never;
  readonly batch?: never;
}

/** What a consumer may be declared with that handles several messages at once. */
export interface BatchConsumerOptions<Value, Reply = never> extends CommonOptions<Value> {
  /** What happens to each batch. */
  readonly batchHandler: BatchHandler<Value, Reply>;
  /** How large a batch is, and how long it is gathered for. */
  readonly batch: BatchOptions;
  readonly handler?: never;
}

/** What every consumer may be declared with. */
interface CommonOptions<Value> {
  /** Who consumes: members with the same group share the topic, every group sees all of it. 1 to 120 characters. */
  readonly group: string;
  /**
   * `"ordered"` (the default): one message of a partition at a time; a failing one blocks its partition.
   * `"keyed"`: up to `concurrency` at a time per partition, never two of one key; a failing one blocks its key only.
   * `"shared"`: any member takes any message, in no order; a failing one blocks nobody.
   * `"broadcast"`: every member gets every message, in order as when keyed.
   */
  readonly mode?: ConsumerMode;
  /**
   * Messages in the handler at once, 1 to 10,000: of one partition, in mode `"shared"` of the topic. Default 1 when ordered or
   * broadcast, 16 when keyed or shared.
   */
  readonly concurrency?: number;
  /** Tries again after a throw. `attempts` counts the first one too; default 5. Default backoff: 1 s doubling to 5 min. */
  readonly retry?: { readonly attempts?: number; readonly backoff?: Backoff };
  /**
   * After the last attempt, and at once for a record that does not fit the schema: `"dead-letter"` (the default) keeps it
   * in `sluice.dead_letters` and goes on, `"drop"` goes on, `"pause"` pauses the partition until `sluice.groups.resume` (in
   * mode `"shared"` the group in this topic; in mode `"broadcast"` this process's part until it restarts).
   */
  readonly onExhausted?: "dead-letter" | "drop" | "pause";
  /**
   * What becomes of a message whose time to live is over when its turn comes: `"drop"` (the default) goes on without it,
   * `"dead-letter"` keeps it in `sluice.dead_letters` with the reason `expired`. The handler does not see it either way.
   */
  readonly onExpired?: "drop" | "dead-letter";
  /**
   * Where a group begins that has no position yet: also `{ offset }` or `{ time }`. Default `"earliest"`; for `"broadcast"`, whose
   * members begin there whenever they start, `"latest"`.
   */
  readonly start?: Place;
  /**
   * `"interval"` (the default): positions are written every `commitInterval` for what is done.
   * `"explicit"`: only what `await c.commit()` was called for is written; the rest is delivered again after a restart,
   * but for what waits for another attempt, which goes on where it was, and what was given up.
   * In both, a handler that opens `c.tx()` commits its position in that transaction. Not for `"shared"`, where each message
   * counts by itself, nor for a broadcast without `instance`, which keeps no position.
   */
  readonly commit?: CommitMode;
  /** Default 250 ms. After a crash, at most what was done within it is delivered again. */
  readonly commitInterval?: Duration;
  /** Records that may wait in memory, 1 to 100,000: per partition, in mode `"shared"` of the topic. Default 4,096. */
  readonly prefetch?: number;
  /**
   * How long a handler may take, at most an hour (`c.extend` gives more). Then `c.signal` is aborted and the attempt has
   * failed with HANDLER_TIMEOUT, even if the handler never ends; what it does later has no effect on its message. Default:
   * none, because only you know what is long, and an attempt that is given up may still be at work beside the next one.
   */
  readonly timeout?: Duration;
  /** Around every handing-over, the first one outermost, within those of the app. Default none. */
  readonly use?: readonly Middleware<Value>[];
  /** How fast the group may go, over all its processes; in mode `"broadcast"` how fast each may. Default: as fast as it can. */
  readonly rateLimit?: RateLimit;
  /**
   * When it may work, and how fast, by the hours of the day: windows with a concurrency and a rate limit of their own. Not for a
   * broadcast without `instance`, which would lose what it holds back. Default: always alike. See docs/pace.md.
   */
  readonly hours?: HoursOptions;
  /**
   * Which messages the handler gets: `"tag in ('paid', 'refunded') and amount >= 100"`, or `"paid || refunded"` for tags.
   * The database decides; the others are done at once. Default: all. See docs/filters.md.
   */
  readonly filter?: string;
  /**
   * One member owns all partitions; the others stand by, and one of them takes over when it goes. For `"ordered"` and
   * `"keyed"`. Default false.
   */
  readonly singleActive?: boolean;
  /**
   * How the group's partitions are given to its members: `"sticky"` (the default) evenly, each staying where it is as far as that goes;
   * `"range"` or `"round-robin"`, as Kafka does. For `"ordered"` and `"keyed"`. Where members disagree, the oldest counts.
   * See docs/groups.md.
   */
  readonly assignment?: "sticky" | "range" | "round-robin";
  /**
   * Whether this group answers requests: with `c.reply`, and with a failure when it gives a message up. Say false for a group that
   * only looks on, so that its failures are nobody's answer. Default: whether the topic declares `replies`.
   */
  readonly answers?: boolean;
  /**
   * Retention keeps what this group has not handled, whatever its age and the log's size. Default false: it drops, and the group is
   * warned. The declaration that was started last counts.
   */
  readonly protect?: boolean;
  /**
   * For `"broadcast"`: the name of this member, 1 to 60 characters. Its position is kept under the group `<group>/<instance>`, and
   * it goes on there after a restart. Default: none, and it begins at `start` every time.
   */
  readonly instance?: string;
}

/** A declared consumer. Make one with {@link consumer}. */
export interface Consumer<Value> {
  readonly topic: Topic<Value>;
  readonly group: string;
  readonly mode: ConsumerMode;
  readonly concurrency: number;
  readonly attempts: number;
  readonly backoff: Backoff;
  readonly onExhausted: "dead-letter" | "drop" | "pause";
  readonly onExpired: "drop" | "dead-letter";
  /** As the database reads it: `earliest`, `latest`, an offset, or a time. */
  readonly start: string;
  readonly commit: CommitMode;
  readonly commitIntervalMs: number;
  readonly prefetch: number;
  /** `undefined`: no limit. */
  readonly timeoutMs: number | undefined;
  readonly use: readonly Middleware<Value>[];
  readonly rateLimit: RateLimit | undefined;
  readonly hours: Hours | undefined;
  readonly filter: Filter | undefined;
  readonly singleActive: boolean;
  readonly assignment: "sticky" | "range" | "round-robin";
  readonly protect: boolean;
  readonly answers: boolean;
  readonly instance: string | null;
  /** Of one message; a batch consumer's is its batch handler with a batch of one. */
  readonly handler: Handler<Value>;
  /** How messages are handed over together; `undefined`: one by one. */
  readonly batching: Batching<Value> | undefined;
}

/** A consumer whose value type does not matter: for lists of them. */
// biome-ignore lint/suspicious/noExplicitAny: Consumer is invariant in its value, so no other type holds them all
export type AnyConsumer = Consumer<any>;

/** A consumer of every topic whose name matches a pattern. Make one with {@link consumer}. */
export interface PatternConsumer<Value> {
  readonly pattern: TopicPattern<Value>;
  readonly group: string;
  /** The consumer of one of its topics. */
  of(topic: string): Consumer<Value>;
}

/** A pattern's consumer whose value type does not matter: for lists of them. */
// biome-ignore lint/suspicious/noExplicitAny: Consumer is invariant in its value, so no other type holds them all
export type AnyPatternConsumer = PatternConsumer<any>;

/** What {@link consumer} consumes: a topic, or all topics of a pattern. */
export type AnySource = AnyTopic | AnyTopicPattern;

/** The type of the values of a topic or a pattern. */
export type SourceValue<Source> =
  Source extends Topic<infer Value> ? Value : Source extends TopicPattern<infer Value> ? Value : never;

/** The type of the answers to the messages of a topic; a pattern's get none. */
export type SourceReply<Source> = Source extends AnyTopic ? ReplyOf<Source> : never;

/** What {@link consumer} makes of a topic or a pattern. */
export type ConsumerOf<Source> = Source extends AnyTopic
  ? Consumer<SourceValue<Source>>
  : PatternConsumer<SourceValue<Source>>;

/**
 * Declares a consumer of a topic, or of all topics of a pattern. Nothing runs until an app that holds it starts.
 *
 * Fails with INVALID_OPTIONS and every problem at once.
 *
 * @example
 * const welcomeEmail = consumer(signups, {
 *   group: "email",
 *   mode: "keyed",
 *   retry: { attempts: 5, backoff: exponential("1s", "5m") },
 *   handler: async (c) => { await mailer.send(c.value.email) },
 * })
 */
export function consumer<Source extends AnySource>(
  from: Source,
  options:
    | ConsumerOptions<SourceValue<Source>, SourceReply<Source>>
    | BatchConsumerOptions<SourceValue<Source>, SourceReply<Source>>,
): ConsumerOf<Source>;
export function consumer<Value>(
  from: Topic<Value> | TopicPattern<Value>,
  options: ConsumerOptions<Value> | BatchConsumerOptions<Value>,
): Consumer<Value> | PatternConsumer<Value> {
  const problems = [...consumerProblems(options), ...laneProblems(from, options.mode)];
  if ("pattern" in from && (options.mode === "shared" || options.mode === "broadcast")) {
    problems.push({ path: "mode", message: 'must be "ordered" or "keyed" for a pattern of topics' });
  }
  if (options.answers === true && ("pattern" in from || from.replies === null)) {
    problems.push({ path: "answers", message: "must not be true: what it consumes declares no replies" });
  }
  if (problems.length > 0) {
    const source = "pattern" in from ? `pattern ${from.pattern}` : `topic ${from.name}`;
    const subject = `consumer ${JSON.stringify(options.group)} of ${source} is not declared well:`;
    throw problemsError("INVALID_OPTIONS", subject, problems);
  }
  if (!("pattern" in from)) return consumerOf(from, options);
  return { pattern: from, group: options.group, of: (name) => consumerOf(from.topicOf(name), options) };
}

function consumerOf<Value>(
  from: Topic<Value>,
  options: ConsumerOptions<Value> | BatchConsumerOptions<Value>,
): Consumer<Value> {
  const mode = options.mode ?? "ordered";
  const filter = options.filter === undefined ? undefined : parseFilter(options.filter);
  return {
    topic: from,
    group: options.group,
    mode,
    concurrency: options.concurrency ?? defaultConcurrency(mode, options.batch?.size),
    attempts: options.retry?.attempts ?? 5,
    backoff: options.retry?.backoff ?? exponential("1s", "5m"),
    onExhausted: options.onExhausted ?? "dead-letter",
    onExpired: options.onExpired ?? "drop",
    start: placeText(options.start ?? (mode === "broadcast" ? "latest" : "earliest")) ?? "earliest",
    commit: options.commit ?? "interval",
    commitIntervalMs: parseDurationMs(options.commitInterval ?? "250ms") ?? 250,
    prefetch: options.prefetch ?? 4_096,
    timeoutMs: options.timeout === undefined ? undefined : parseDurationMs(options.timeout),
    use: [...(options.use ?? [])],
    handler: options.batchHandler === undefined ? options.handler : handlerOfOne(options.batchHandler),
    batching: options.batchHandler === undefined ? undefined : batching(options.batch, options.batchHandler),
    rateLimit: options.rateLimit,
    hours: options.hours === undefined ? undefined : hoursOf(options.hours),
    filter,
    singleActive: options.singleActive ?? false,
    assignment: options.assignment ?? "sticky",
    protect: options.protect ?? false,
    answers: options.answers ?? from.replies !== null,
    instance: options.instance ?? null,
  };
}

function defaultConcurrency(mode: ConsumerMode, batchSize = 1): number {
  if (mode === "keyed") return Math.max(16, batchSize);
  return mode === "shared" ? 16 : 1;
}

function consumerProblems(options: ConsumerOptions<never> | BatchConsumerOptions<never>): Problem[] {
  const problems: Problem[] = [];
  const require = (holds: boolean, path: string, message: string) => {
    if (!holds) problems.push({ path, message });
  };
  const isCount = (value: unknown, most: number) =>
    value === undefined || (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= most);
  const isOneOf = (value: unknown, ...choices: string[]) => value === undefined || choices.includes(value as string);

  require(typeof options.group === "string" &&
    options.group.length >= 1 &&
    options.group.length <= limits.groupNameCharacters &&
    !isUnstorable(options.group), "group", `must be 1 to ${limits.groupNameCharacters} characters`);
  require(isOneOf(
    options.mode,
    "ordered",
    "keyed",
    "shared",
    "broadcast",
  ), "mode", 'must be "ordered", "keyed", "shared" or "broadcast"');
  require(isCount(options.concurrency, 10_000), "concurrency", "must be a whole number from 1 to 10,000");
  require((options.mode ?? "ordered") !== "ordered" ||
    options.concurrency === undefined ||
    options.concurrency === 1, "concurrency", 'must be 1 in mode "ordered"; choose mode "keyed" for more');
  require(isCount(options.retry?.attempts, 1_000), "retry.attempts", "must be a whole number from 1 to 1,000");
  for (const message of options.retry?.backoff?.problems ?? []) problems.push({ path: "retry.backoff", message });
  require(isOneOf(
    options.onExhausted,
    "dead-letter",
    "drop",
    "pause",
  ), "onExhausted", 'must be "dead-letter", "drop" or "pause"');
  require(isOneOf(options.onExpired, "drop", "dead-letter"), "onExpired", 'must be "drop" or "dead-letter"');
  require(placeText(options.start ?? "earliest") !==
    undefined, "start", 'must be "earliest", "latest", { offset } or { time }');
  require(isOneOf(options.commit, "interval", "explicit"), "commit", 'must be "interval" or "explicit"');
  require(options.commitInterval === undefined ||
    (parseDurationMs(options.commitInterval) ?? 0) >= 10, "commitInterval", "must be a duration of at least 10 ms");
  require(isCount(options.prefetch, 100_000), "prefetch", "must be a whole number from 1 to 100,000");
  const timeoutMs = parseDurationMs(options.timeout ?? 1) ?? 0;
  require(timeoutMs >= 1 && timeoutMs <= limits.handlerMs, "timeout", "must be a duration of at most 1 hour");
  const use = middlewareProblem(options.use);
  if (use !== undefined) problems.push({ path: "use", message: use });
  problems.push(...rateLimitProblems(options.rateLimit, options.mode ?? "ordered"));
  problems.push(...hoursProblems(options.hours, options));
  const filter = options.filter === undefined ? undefined : readFilter(options.filter);
  if (filter !== undefined && "path" in filter) problems.push(filter);
  problems.push(...modeProblems(options));
  return [...problems, ...batchProblems(options)];
}

/** What fits one mode only. */
function modeProblems(options: ConsumerOptions<never> | BatchConsumerOptions<never>): Problem[] {
  const problems: Problem[] = [];
  const require = (holds: boolean, path: string, message: string) => {
    if (!holds) problems.push({ path, message });
  };
  const { mode = "ordered", instance } = options;
  const isFlag = (value: unknown) => value === undefined || typeof value === "boolean";
  const keepsNoPosition = mode === "broadcast" && instance === undefined;
  require(isFlag(options.singleActive), "singleActive", "must be true or false");
  require(options.singleActive !== true ||
    mode === "ordered" ||
    mode === "keyed", "singleActive", 'is for the modes "ordered" and "keyed"');
  const assignments: unknown[] = [undefined, "sticky", "range", "round-robin"];
  require(assignments.includes(options.assignment), "assignment", 'must be "sticky", "range" or "round-robin"');
  require(options.assignment === undefined ||
    mode === "ordered" ||
    mode === "keyed", "assignment", 'is for the modes "ordered" and "keyed"');
  require(isFlag(options.protect), "protect", "must be true or false");
  require(isFlag(options.answers), "answers", "must be true or false");
  require(options.protect !== true ||
    !keepsNoPosition, "protect", "needs an instance: a broadcast keeps no position without");
  require(options.commit !== "explicit" ||
    (mode !== "shared" &&
      !keepsNoPosition), "commit", 'cannot be "explicit" in this mode: no position follows what was handled');
  require(instance === undefined || mode === "broadcast", "instance", 'is for the mode "broadcast"');
  require(instance === undefined ||
    /^[^/]{1,60}$/.test(instance), "instance", 'must be 1 to 60 characters without "/"');
  require(instance === undefined ||
    typeof options.group !== "string" ||
    options.group.length + instance.length <
      limits.groupNameCharacters, "instance", `makes the group's name longer than ${limits.groupNameCharacters} characters`);
  return problems;
}
