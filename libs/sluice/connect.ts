import {
  DeadLetters,
  Doorbell,
  GroupAdministration,
  HalfMessages,
  MemberAdministration,
  recallDelayed,
} from "@sluice/broker";
import {
  type AnyTopic,
  type ConsumedRecord,
  type HalfMessage,
  isUnstorable,
  type PrepareOptions,
  type RequestOptions,
  type SendResult,
  type Topic,
} from "@sluice/contract";
import {
  type Clock,
  type Duration,
  jsonLogger,
  type Logger,
  type Problem,
  parseDurationMs,
  problemsError,
  systemClock,
} from "@sluice/kernel";
import { type Log, PostgresLog, readerSettings } from "@sluice/log";
import {
  callInTransaction,
  checkServer,
  isDatabaseUrl,
  Pool,
  type Route,
  Silence,
  type UserTransaction,
} from "@sluice/store";
import {
  type DelayOptions,
  halfOf,
  Producer,
  prepareHalf,
  type ReadOptions,
  Requests,
  readPartition,
  type SendOptions,
} from "@sluice/worker";
import { openRoute, prepareSchema } from "./route.ts";

/** How to reach the database, and what this process may do there. */
export interface ConnectOptions {
  /** `postgres://user:password@host:port/database`. Default: the environment's `DATABASE_URL`. */
  readonly url?: string;
  /**
   * A way past the pooler of `url`, where that gives each transaction another backend: for the one connection per process that holds its
   * locks and its LISTEN, and for migrating. Default: the environment's `SLUICE_SESSION_URL`; without it, members live by their lease and
   * find new messages by polling.
   */
  readonly sessionUrl?: string;
  /** Topics to look up, or make, before connecting resolves; others are when they are first sent to. */
  readonly topics?: readonly AnyTopic[];
  /** Whether to bring the schema up to date. Default true; when false, one that is too old is refused. */
  readonly migrate?: boolean;
  /** Whether topics that are not there are made. Default true. */
  readonly createTopics?: boolean;
  /** Records that may wait in this process; default 100,000. A send beyond that waits. */
  readonly maxBufferedRecords?: number;
  /** Characters of values that may wait in this process; default 64 Mi. */
  readonly maxBufferedCharacters?: number;
  /** How long a send waits for room before it fails with BUFFER_FULL. Default one minute. */
  readonly maxBlock?: Duration;
  /** For how long a send that fails is tried again, without doubling it. Default two minutes, at most ten. */
  readonly deliveryTimeout?: Duration;
  /**
   * Connections for what has none of its own, at most; up to four more are for appending, one for reading, two for reading by filters,
   * and one for answers to requests. Default 6.
   */
  readonly connections?: number;
  /** Shown in `pg_stat_activity`. Default `"sluice"`. */
  readonly name?: string;
  /** Default: JSON lines on standard error, from `info` on. */
  readonly logger?: Logger;
}

/** What a topic must be for a request: one that declares `replies`. */
export type Answering<Reply> = [Reply] extends [never] ? "the topic declares no replies" : unknown;

/** A connection that sends. Share one in the whole process. */
export interface Sluice {
  /**
   * Sends one message, and resolves once it is durable: see `acks`. Concurrent sends share batches. A send whose answer was
   * lost is repeated and never doubled.
   *
   * With `{ tx }`, a transaction of yours (drizzle's, or postgres.js's), the message enters the log if and only if that
   * commits, and the result says `"queued"`.
   *
   * With `{ delay }` or `{ deliverAt }` it enters the log when it is due, never earlier by the database's clock; the result
   * says `"delayed"`, and until then its id {@link recall}s it.
   *
   * Fails with INVALID_VALUE, RECORD_TOO_LARGE, QUEUE_FULL, INVALID_OPTIONS, UNKNOWN_TOPIC, NO_GROUP, BUFFER_FULL, CLOSED or a DATABASE_…
   * code, and nothing was written; or with COMMIT_UNKNOWN when the database could not be asked in time whether it was.
   *
   * @example
   * const { partition, offset } = await sluice.send(signups, { userId: "u1", email: "a@example.com" })
   * await db.transaction(async (tx) => { await tx.insert(users).values(user); await sluice.send(signups, user, { tx }) })
   */
  send<Value>(topic: Topic<Value>, value: Value, options?: SendOptions): Promise<SendResult>;
  /**
   * Sends many messages of one topic and resolves with a result for each, in order. All values are checked first: if one
   * does not fit, none is sent. Messages of one partition keep their order and lie side by side; the batch as a whole is
   * not one transaction unless you give it `{ tx }`, or the topic has a `maxDepth`: that takes it whole or not at all.
   */
  sendBatch<Value>(topic: Topic<Value>, values: readonly Value[], options?: SendOptions): Promise<SendResult[]>;
  /**
   * Sends without a promise: one way, or with a callback that hears the outcome. Throws what {@link send} rejects with when
   * the value is refused, and BUFFER_FULL at once when there is no room. An outcome that nobody hears is logged.
   */
  post<Value>(
    topic: Topic<Value>,
    value: Value,
    options?: Omit<SendOptions, "tx" | "requireGroup" | keyof DelayOptions>,
    onOutcome?: (error: unknown, result: SendResult | undefined) => void,
  ): void;
  /**
   * Sends a message to a topic that declares `replies`, and resolves with the first answer that a handler of any group gives with
   * `c.reply`, wherever it runs. Unless told otherwise the message's time to live is the `timeout`, so nobody begins to work for a
   * caller that has gone.
   *
   * Fails with REQUEST_TIMEOUT (the message may still be handled), with REQUEST_FAILED at once when a group gave the message up
   * (`reason` says why), with BUFFER_FULL beyond 10,000 requests that wait, with CLOSED when the connection is closed meanwhile, with
   * INVALID_VALUE for an answer that does not fit, with what {@link send} fails with, and with the signal's reason.
   *
   * @example
   * const { price } = await sluice.request(prices, { article: "a1" }, { timeout: "5s" })
   */
  request<Value, Reply>(
    topic: Topic<Value, Reply> & Answering<Reply>,
    value: Value,
    options?: RequestOptions,
  ): Promise<Reply>;
  /**
   * Takes a delayed message back by its id. True: it will never be delivered; with `{ tx }`, if that commits. False: it was
   * delivered already, recalled before, or never was. Of a recall and the delivery, one wins.
   *
   * Fails with a DATABASE_… code; where the answer was lost, sluice.delayed_messages and the topic tell what happened.
   *
   * @example
   * const { id } = await sluice.send(reminders, { userId: "u1" }, { delay: "3d" })
   * const inTime = await sluice.recall(id)
   */
  recall(id: string, options?: { readonly tx?: UserTransaction }): Promise<boolean>;
  /**
   * Prepares a message for work that is done elsewhere: it is kept, and seen by nobody until it is committed. When neither
   * commit nor rollback comes within the timeout, its check-back is asked.
   *
   * Fails as {@link send} does, and with INVALID_OPTIONS. When its answer is lost, the message may be kept all the same: its
   * check-back is then asked about an id that it does not know, and says "rollback".
   *
   * @example
   * const half = await sluice.prepare(orders, order, { checkBack: "orders" })
   * try { await shop.place(order, half.id); await half.commit() } catch (error) { await half.rollback(); throw error }
   */
  prepare<Value>(topic: Topic<Value>, value: Value, options: PrepareOptions): Promise<HalfMessage>;
  /** A half message by its id, to decide on it after a restart or in another process. Nothing is looked up yet. */
  half(id: string): HalfMessage;
  /**
   * Reads a partition without a group, from any offset or time to another or to its present end, in pieces as they lie in the
   * log. Reading moves no position and hides nothing from anybody.
   *
   * @example
   * for await (const records of sluice.read(signups, { partition: 0, from: 1_000 })) for (const { offset, value } of records) …
   */
  read<Value>(topic: Topic<Value>, options: ReadOptions): AsyncIterable<readonly ConsumedRecord<Value>[]>;
  /** What groups could not handle: browse it, correct it, hand it over again, or give it up. */
  readonly deadLetters: DeadLetters;
  /** Where groups stand and whether they work: move, pause and resume them, or let one handle a message once more. */
  readonly groups: GroupAdministration;
  /** The processes that consume: list, pause and resume them. */
  readonly members: MemberAdministration;
  /** Resolves when everything sent so far is settled, one way or the other. */
  flush(): Promise<void>;
  /** Settles what was sent, then ends the connections. Sends after that fail with CLOSED. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** How often a request looks for an answer that no doorbell told of. */
const requestPollMs = 500;
/** Connections that only append: so many topics of a process are appended to at the same time. */
const appendConnections = 4;

/** Everything a process shares; the app builds its worker on it. */
export interface Connection {
  readonly route: Route;
  /** For its pools, and for sessions where these go the same way. */
  readonly silence: Silence;
  readonly sessionUrl: string | undefined;
  readonly pool: Pool;
  readonly appenders: readonly Pool[];
  readonly readers: Pool;
  readonly scanners: Pool;
  readonly log: Log;
  readonly doorbell: Doorbell;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly producer: Producer;
  readonly requests: Requests;
}

/**
 * Connects for sending: checks the server, brings the schema up to date, looks up the topics.
 *
 * Fails with INVALID_OPTIONS (all problems at once), DATABASE_UNREACHABLE, DATABASE_AUTHENTICATION, DATABASE_PRIVILEGE,
 * DATABASE_TOO_OLD, DATABASE_POOLED, SCHEMA_NEWER, SCHEMA_OLDER, SCHEMA_CHANGED or UNKNOWN_TOPIC; nothing stays open then.
 *
 * @example
 * await using sluice = await connect({ topics: [signups] })
 */
export async function connect(options: ConnectOptions = {}): Promise<Sluice> {
  const connection = await openConnection(options);
  return asSluice(connection, () => closeConnection(connection));
}

/** As {@link connect}, with everything in the open. */
export async function openConnection(options: ConnectOptions): Promise<Connection> {
  const url = options.url ?? process.env["DATABASE_URL"];
  const problems = connectProblems(options, url);
  if (problems.length > 0 || url === undefined) {
    throw problemsError("INVALID_OPTIONS", "the connection is not configured well:", problems);
  }
  const logger = options.logger ?? jsonLogger();
  const applicationName = options.name ?? "sluice";
  const route = await openRoute(url, options.sessionUrl, applicationName, logger);
  const { sessionUrl } = route;
  const silence = new Silence(url, { ...route, applicationName });
  const open = (connections: number, settings = {}) =>
    new Pool(url, { ...route, connections, applicationName, silence, settings });
  const [pool, readers, scanners] = [open(options.connections ?? 6), open(1, readerSettings), open(2)];
  const appenders = Array.from({ length: appendConnections }, () => open(1));
  try {
    await checkServer(pool);
    await prepareSchema(route, pool, options.migrate ?? true);
    const log = new PostgresLog(pool, appenders, readers, scanners);
    const doorbell = new Doorbell(pool, logger);
    const producer = await Producer.open(
      { pool, log, doorbell, logger, clock: systemClock },
      {
        maxBufferedRecords: options.maxBufferedRecords ?? 100_000,
        maxBufferedCharacters: options.maxBufferedCharacters ?? 64 * 1_048_576,
        maxBlockMs: parseDurationMs(options.maxBlock ?? "1m") ?? 0,
        deliveryTimeoutMs: parseDurationMs(options.deliveryTimeout ?? "2m") ?? 0,
        createTopics: options.createTopics ?? true,
      },
    );
    for (const topic of options.topics ?? []) await producer.openTopic(topic);
    const common = {
      route,
      silence,
      sessionUrl,
      pool,
      appenders,
      readers,
      scanners,
      log,
      doorbell,
      logger,
      clock: systemClock,
      producer,
    };
    return { ...common, requests: new Requests({ ...common, name: applicationName, pollMs: requestPollMs }) };
  } catch (error) {
    await Promise.all([pool, ...appenders, readers, scanners].map((each) => each.close(0)));
    throw error;
  }
}

/** Settles what was sent, rings what is to be rung, ends the connections. */
export async function closeConnection({ producer, requests, doorbell, ...pools }: Connection): Promise<void> {
  const { pool, appenders, readers, scanners } = pools;
  await requests.close();
  await producer.close();
  await doorbell.idle();
  await Promise.all([pool, ...appenders, readers, scanners].map((each) => each.close()));
}

/** A connection as users see it. */
export function asSluice({ log, pool, producer, requests }: Connection, close: () => Promise<void>): Sluice {
  const halves = new HalfMessages(pool);
  let closing: Promise<void> | undefined;
  const closeOnce = () => {
    closing ??= close();
    return closing;
  };
  return {
    send: (topic, value, options) => producer.send(topic, value, options),
    sendBatch: (topic, values, options) => producer.sendBatch(topic, values, options),
    post: (topic, value, options = {}, onOutcome) => producer.post(topic, value, options, onOutcome),
    request: (topic, value, options) => requests.request(topic, value, options),
    async recall(id, { tx } = {}) {
      if (tx === undefined) return await recallDelayed(pool, id);
      return (await callInTransaction(tx, "recalling a message", "sluice.recall", [id])) === "true";
    },
    prepare: (topic, value, options) => prepareHalf(producer, halves, topic, value, options),
    half: (id) => halfOf(halves, id),
    async *read(topic, options) {
      yield* readPartition(log, topic, (await producer.openTopic(topic)).entry, options);
    },
    deadLetters: new DeadLetters(pool),
    groups: new GroupAdministration(pool),
    members: new MemberAdministration(pool),
    flush: () => producer.flush(),
    close: closeOnce,
    [Symbol.asyncDispose]: closeOnce,
  };
}

function connectProblems(options: ConnectOptions, url: string | undefined): Problem[] {
  const problems: Problem[] = [];
  const require = (holds: boolean, path: string, message: string) => {
    if (!holds) problems.push({ path, message });
  };
  require(url !== undefined && url !== "", "url", "is missing, and the environment has no DATABASE_URL");
  const sessionUrl = options.sessionUrl ?? (process.env["SLUICE_SESSION_URL"] || undefined);
  for (const [path, given] of [
    [options.url === undefined ? "DATABASE_URL" : "url", url || undefined],
    [options.sessionUrl === undefined ? "SLUICE_SESSION_URL" : "sessionUrl", sessionUrl],
  ] as const) {
    const isOne = given === undefined || (typeof given === "string" && isDatabaseUrl(given));
    require(isOne, path, "must be a URL such as postgres://user:password@host:5432/database");
  }
  const { name: shown } = options;
  require(shown === undefined ||
    (typeof shown === "string" &&
      shown.length >= 1 &&
      !isUnstorable(shown)), "name", "must be a text without NUL characters and lone surrogates");
  for (const name of ["maxBufferedRecords", "maxBufferedCharacters", "connections"] as const) {
    const count = options[name];
    require(count === undefined || (Number.isInteger(count) && count >= 1), name, "must be a whole number above zero");
  }
  require(options.connections === undefined || options.connections >= 2, "connections", "must be at least 2");
  for (const name of ["maxBlock", "deliveryTimeout"] as const) {
    const duration = options[name];
    require(duration === undefined ||
      parseDurationMs(duration) !== undefined, name, 'must be a duration such as "30s"');
  }
  require((parseDurationMs(options.deliveryTimeout ?? 0) ?? 0) <=
    600_000, "deliveryTimeout", "must be at most 10 minutes");
  return problems;
}
