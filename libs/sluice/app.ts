import { declareSchedule, Groups, HalfMessages } from "@sluice/broker";
import {
  type AnyConsumer,
  type AnyPatternConsumer,
  type AnyTopic,
  type CheckBack,
  isUnstorable,
  type Middleware,
  middlewareProblem,
  type Schedule,
  type Stage,
} from "@sluice/contract";
import { type Duration, limits, type Problem, parseDurationMs, problemsError, type SluiceError } from "@sluice/kernel";
import { Pool } from "@sluice/store";
import {
  Answers,
  HalfChecker,
  HandlerTransactions,
  type JoinedConsumer,
  joinConsumer,
  nameProblem,
  type OpenStage,
  originProblem,
  urlProblem,
  Worker,
} from "@sluice/worker";
import {
  asSluice,
  type Connection,
  type ConnectOptions,
  closeConnection,
  openConnection,
  type Sluice,
} from "./connect.ts";
import { PatternWatch } from "./pattern-watch.ts";

/** What an app may be declared with. */
export interface AppOptions {
  /** Shown as the member's name, with the process's number. 1 to 120 characters; default `"app"`. */
  readonly name?: string;
  /** Topics it sends to; those of its consumers are known already. */
  readonly topics?: readonly AnyTopic[];
  /** What it consumes: topics, and patterns of them. */
  readonly consumers?: readonly (AnyConsumer | AnyPatternConsumer)[];
  /**
   * Around every handing-over of every consumer, the first one outermost; a consumer's own `use` comes within. Not around
   * stages. Default none.
   */
  readonly use?: readonly Middleware[];
  /** What it sends by the clock. Kept in the database when it starts; one that is no longer declared stays there. */
  readonly schedules?: readonly Schedule[];
  /** Its stages: what consumes and produces in one transaction. */
  readonly stages?: readonly Stage[];
  /**
   * Says what became of half messages that nobody decided on in time, by the name that they were prepared with: a function, or
   * the URL of an endpoint.
   */
  readonly checkBacks?: Readonly<Record<string, CheckBack>>;
  /** Origins (`"https://orders.internal"`) whose endpoints may be asked when a message was prepared with a URL. Default none. */
  readonly checkBackOrigins?: readonly string[];
  /**
   * Others have the partitions of a process that is not heard of, once this is over; default `"15s"`. (One that dies loses them at
   * once: the server sees its connection close.)
   */
  readonly lease?: Duration;
  /**
   * The name of this process as a static member, 1 to 60 characters: when it closes or dies, its partitions wait for the process that
   * starts with this name, for as long as the lease. Two that run with one name: the older one is fenced, see
   * {@link RunningApp.fenced}. Default: none, and others take its partitions at once. See docs/groups.md.
   */
  readonly member?: string;
  /** How often a process renews its lease; default `"3s"`. Shorter than the lease. */
  readonly heartbeat?: Duration;
  /** How long handlers get to finish when the app stops or a partition moves; default `"30s"`. */
  readonly drain?: Duration;
  /** How often to look for messages that no doorbell told of; default `"500ms"`. */
  readonly poll?: Duration;
  /** Connections for `c.tx()`, at most; default 10. */
  readonly transactionConnections?: number;
}

/** A declared app. Make one with {@link app}; nothing runs before {@link App.start}. */
export interface App {
  readonly name: string;
  readonly topics: readonly AnyTopic[];
  readonly consumers: readonly AnyConsumer[];
  readonly schedules: readonly Schedule[];
  /** Consumers of patterns; which topics they have is known once it runs. */
  readonly patterns: readonly AnyPatternConsumer[];
  /**
   * Connects and consumes. Resolves once the partitions that are free have been taken. Fails as `connect` does.
   */
  start(options?: Omit<ConnectOptions, "topics">): Promise<RunningApp>;
}

/** An app that runs. */
export interface RunningApp {
  /** Sends, over the app's own connections. Closed with the app. */
  readonly sluice: Sluice;
  /**
   * Stops: begins no message any more, gives the handlers under way the drain's time, writes positions, gives partitions
   * back, settles what was sent. Resolves with whether all handlers finished; what did not will be delivered again.
   */
  close(): Promise<boolean>;
  /**
   * Resolves with the error (FENCED) when another process has started as the `member` that this one was: it consumes no more, and
   * is to be closed. Else never. `run` ends the process then.
   */
  readonly fenced: Promise<SluiceError>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Declares an app: topics it sends to and consumers it runs.
 *
 * Fails with INVALID_OPTIONS and every problem at once.
 *
 * @example
 * const running = await app({ name: "signup", consumers: [welcomeEmail] }).start()
 */
export function app(options: AppOptions): App {
  const problems = appProblems(options);
  if (problems.length > 0) throw problemsError("INVALID_OPTIONS", "the app is not declared well:", problems);
  const { use = [] } = options;
  const declared = apart(options);
  const isStage = (one: AnyConsumer) => options.stages?.some((stage) => stage.consumer === one) ?? false;
  const consumers = declared.consumers.map((one) => (isStage(one) ? one : within(use, one)));
  const patterns = declared.patterns.map((one) => ({ ...one, of: (topic: string) => within(use, one.of(topic)) }));
  const schedules = options.schedules ?? [];
  const topics = [...new Set(namedTopics(options))];
  const name = options.name ?? "app";
  return {
    name,
    topics,
    consumers,
    schedules,
    patterns,
    start: (connectOptions) => start({ name, topics, consumers, patterns }, options, connectOptions),
  };
}

const defaultTimings = { lease: "15s", heartbeat: "3s", drain: "30s", poll: "500ms" } as const;

/** What the app says, or the default; 0 for what is no duration. */
function timingMs(options: AppOptions, name: keyof typeof defaultTimings): number {
  return parseDurationMs(options[name] ?? defaultTimings[name]) ?? 0;
}

function apart({ consumers = [], stages = [] }: AppOptions): {
  readonly consumers: readonly AnyConsumer[];
  readonly patterns: readonly AnyPatternConsumer[];
} {
  const isPattern = (one: AnyConsumer | AnyPatternConsumer): one is AnyPatternConsumer => "pattern" in one;
  return {
    consumers: [
      ...consumers.filter((one): one is AnyConsumer => !isPattern(one)),
      ...stages.map((stage) => stage.consumer),
    ],
    patterns: consumers.filter(isPattern),
  };
}

/** The consumer with the app's middlewares around its own. */
function within(use: readonly Middleware[], consumer: AnyConsumer): AnyConsumer {
  return { ...consumer, use: [...use, ...consumer.use] };
}

async function start(
  { name, topics, consumers, patterns }: Pick<App, "name" | "topics" | "consumers" | "patterns">,
  options: AppOptions,
  connectOptions: Omit<ConnectOptions, "topics"> = {},
): Promise<RunningApp> {
  const connection = await openConnection({ name, ...connectOptions, topics });
  const groups = new Groups(connection.pool);
  const transactionPool = new Pool(connection.route.url, {
    ...connection.route,
    connections: options.transactionConnections ?? 10,
    applicationName: `${name} handlers`,
    silence: connection.silence,
  });
  const closeAll = async () => {
    await closeConnection(connection);
    await transactionPool.close();
  };
  try {
    const joined: JoinedConsumer[] = [];
    for (const consumer of consumers) {
      const { entry } = await connection.producer.openTopic(consumer.topic);
      const stage = options.stages?.find((one) => one.consumer === consumer);
      const one = await joinConsumer(connection.pool, groups, consumer, entry);
      joined.push(stage === undefined ? one : { ...one, stage: await openStage(connection, stage) });
    }
    for (const schedule of options.schedules ?? []) {
      const { entry } = await connection.producer.openTopic(schedule.topic);
      await declareSchedule(connection.pool, schedule, entry.number, name);
    }
    const watch = new PatternWatch({ ...connection, groups }, patterns, joined);
    await watch.look(true, (found) => joined.push(found));
    const worker = new Worker(
      {
        ...connection,
        groups,
        transactions: new HandlerTransactions(transactionPool),
        answers: new Answers(connection),
      },
      joined,
      {
        name: `${name} ${process.pid}`,
        // The rest is for the others, to look and to take over.
        leaseMs: Math.ceil(0.9 * timingMs(options, "lease")),
        heartbeatMs: timingMs(options, "heartbeat"),
        drainMs: timingMs(options, "drain"),
        pollMs: timingMs(options, "poll"),
        ...(options.member === undefined ? {} : { staticId: options.member }),
      },
    );
    await worker.started;
    watch.start((found) => worker.join(found));
    const checker = startChecking(connection, options);
    let closing: Promise<boolean> | undefined;
    const close = () => {
      closing ??= Promise.all([worker.close(), watch.stop(), checker?.stop()])
        .then(([drained]) => drained)
        .finally(closeAll);
      return closing;
    };
    const closeQuietly = async () => {
      await close();
    };
    const { fenced } = worker;
    return { sluice: asSluice(connection, closeQuietly), close, fenced, [Symbol.asyncDispose]: closeQuietly };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

function namedTopics(options: AppOptions): AnyTopic[] {
  const { topics = [], schedules = [], stages = [] } = options;
  const targets = stages.flatMap((stage) => stage.targets);
  return [...topics, ...[...apart(options).consumers, ...schedules].map(({ topic }) => topic), ...targets];
}

/** Asks about half messages, where the app has anybody to ask. */
function startChecking({ pool, logger }: Connection, options: AppOptions): HalfChecker | undefined {
  const checkBacks = new Map(Object.entries(options.checkBacks ?? {}));
  const origins = options.checkBackOrigins ?? [];
  if (checkBacks.size === 0 && origins.length === 0) return undefined;
  const pollMs = timingMs(options, "poll");
  return new HalfChecker({ halves: new HalfMessages(pool), checkBacks, origins, pollMs, logger });
}

async function openStage({ producer }: Connection, stage: Stage): Promise<OpenStage> {
  const topics = new Map<AnyTopic, Awaited<ReturnType<typeof producer.openTopic>>>();
  for (const topic of stage.targets) {
    topics.set(topic, await producer.openTopic(topic));
  }
  return { stage, topics };
}

function appProblems(options: AppOptions): Problem[] {
  const problems: Problem[] = [];
  const require = (holds: boolean, path: string, message: string) => {
    if (!holds) problems.push({ path, message });
  };
  const { name: appName = "app" } = options;
  require(typeof appName === "string" &&
    appName.length >= 1 &&
    appName.length <= limits.appNameCharacters &&
    !isUnstorable(appName), "name", `must be 1 to ${limits.appNameCharacters} characters`);
  for (const name of ["lease", "heartbeat", "drain", "poll"] as const)
    require(timingMs(options, name) > 0, name, 'must be a duration above zero, such as "3s"');
  const [leaseMs, heartbeatMs] = [timingMs(options, "lease"), timingMs(options, "heartbeat")];
  require(leaseMs <= limits.leaseMs, "lease", "must be a day at most");
  require(heartbeatMs * 2 <=
    leaseMs, "lease", `is ${leaseMs} ms; it must be at least twice the heartbeat of ${heartbeatMs} ms`);
  const use = middlewareProblem(options.use);
  if (use !== undefined) problems.push({ path: "use", message: use });
  const connections = options.transactionConnections;
  require(connections === undefined ||
    (Number.isInteger(connections) && connections >= 1), "transactionConnections", "must be a whole number above zero");
  for (const [name, checkBack] of Object.entries(options.checkBacks ?? {})) {
    const problem =
      nameProblem(name) ??
      (typeof checkBack === "string"
        ? urlProblem(checkBack)
        : typeof checkBack === "function"
          ? undefined
          : "must be a function or a URL");
    if (problem !== undefined) problems.push({ path: `checkBacks.${name}`, message: problem });
  }
  for (const [index, origin] of (options.checkBackOrigins ?? []).entries()) {
    const problem = originProblem(origin);
    if (problem !== undefined) problems.push({ path: `checkBackOrigins[${index}]`, message: problem });
  }
  require(options.member === undefined ||
    (typeof options.member === "string" &&
      /^.{1,60}$/su.test(options.member) &&
      !isUnstorable(options.member)), "member", "must be 1 to 60 characters");
  const seen = new Set<string>();
  const { consumers, patterns } = apart(options);
  problems.push(...assignmentProblems(consumers, patterns));
  for (const { group, pattern } of patterns) {
    const name = `${group} of pattern ${pattern.pattern}`;
    require(!seen.has(name), "consumers", `group ${name} is declared twice`);
    seen.add(name);
  }
  for (const { group, topic } of consumers) {
    const name = `${group} of ${topic.name}`;
    require(!seen.has(name), "consumers", `group ${name} is declared twice`);
    seen.add(name);
  }
  const scheduleNames = new Set<string>();
  for (const { name } of options.schedules ?? []) {
    require(!scheduleNames.has(name), "schedules", `schedule ${name} is declared twice`);
    scheduleNames.add(name);
  }
  const byName = new Map<string, AnyTopic>();
  for (const topic of namedTopics(options)) {
    const other = byName.get(topic.name);
    require(other === undefined || other === topic, "topics", `topic ${topic.name} is declared twice`);
    byName.set(topic.name, topic);
  }
  return problems;
}

/** All consumers of a group in one app say the same, so that a member is of one mind. */
function assignmentProblems(consumers: readonly AnyConsumer[], patterns: readonly AnyPatternConsumer[]): Problem[] {
  const all = [...consumers, ...patterns.map((one) => one.of("any"))];
  const said = all.filter(({ mode }) => mode === "ordered" || mode === "keyed");
  return [...Map.groupBy(said, ({ group }) => group)].flatMap(([group, ofGroup]) => {
    const assignments = [...new Set(ofGroup.map(({ assignment }) => assignment))];
    if (assignments.length < 2) return [];
    return [{ path: "consumers", message: `group ${group} has more than one assignment: ${assignments.join(", ")}` }];
  });
}
