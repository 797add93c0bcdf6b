import { Doorbell, Groups } from "@sluice/broker";
import { type AnyConsumer, type Topic, topic } from "@sluice/contract";
import { isSluiceError, silentLogger, systemClock } from "@sluice/kernel";
import { type Log, openTopic, PostgresLog, type TopicEntry } from "@sluice/log";
import { Pool } from "@sluice/store";
import { type History, type LogEntry, testDatabase } from "@sluice/testkit";
import { Answers, type AnswersContext, HandlerTransactions, type OpenStage, Producer, Worker } from "@sluice/worker";
import postgres from "postgres";
import { z } from "zod";

/** A database of one test's own, and what runs on it; all of it ends with the rig, last come first gone. */
export interface Rig {
  readonly url: string;
  /** For looking, and for planting defects. */
  readonly sql: postgres.Sql;
  /** Ends with the rig. */
  use<Resource extends AsyncDisposable>(resource: Resource): Resource;
  pool(options?: { readonly url?: string; readonly connections?: number; readonly name?: string }): Pool;
  /** Declares a topic of text values and makes it. */
  topic(name: string, partitions: number): Promise<{ readonly topic: Topic<string>; readonly entry: TopicEntry }>;
  producer(options?: ProducerRig): Promise<Producer>;
  worker(options: WorkerRig): Promise<Worker>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface ProducerRig {
  /** Default: straight to the server. */
  readonly url?: string;
  readonly deliveryTimeoutMs?: number;
  /** Breaks the log on purpose. */
  readonly log?: (log: Log) => Log;
}

export interface WorkerRig {
  readonly name: string;
  readonly url?: string;
  readonly consumer: AnyConsumer;
  readonly entry: TopicEntry;
  /** The stage whose consumer it is. */
  readonly stage?: OpenStage;
  /** Breaks handlers' transactions on purpose. */
  readonly transactions?: (pool: Pool) => HandlerTransactions;
  /** Breaks answering on purpose. */
  readonly answers?: (context: AnswersContext) => Answers;
  readonly log?: (log: Log) => Log;
  readonly groups?: (pool: Pool) => Groups;
  readonly leaseMs?: number;
  readonly pollMs?: number;
  readonly drainMs?: number;
  /** Do not wait until it has started. */
  readonly background?: boolean;
}

async function openProducer(
  pool: Pool,
  use: Rig["use"],
  { deliveryTimeoutMs = 30_000, log = (same: Log) => same }: Omit<ProducerRig, "url">,
): Promise<Producer> {
  const doorbell = new Doorbell(pool, silentLogger);
  const context = { pool, log: log(new PostgresLog(pool)), doorbell, logger: silentLogger, clock: systemClock };
  const producer = await Producer.open(context, {
    maxBufferedRecords: 10_000,
    maxBufferedCharacters: 2 ** 24,
    maxBlockMs: 10_000,
    deliveryTimeoutMs,
    createTopics: false,
  });
  use({
    async [Symbol.asyncDispose]() {
      await producer.close();
      await doorbell.idle();
    },
  });
  return producer;
}

/** Makes a {@link Rig}: `await using rig = await openRig()`. */
export async function openRig(): Promise<Rig> {
  const database = await testDatabase();
  const resources: AsyncDisposable[] = [database];
  const sql = postgres(database.url, { max: 12, fetch_types: false, onnotice: () => undefined });
  const use = <Resource extends AsyncDisposable>(resource: Resource): Resource => {
    resources.push(resource);
    return resource;
  };
  use({ [Symbol.asyncDispose]: () => sql.end() });
  const pool: Rig["pool"] = ({ url = database.url, connections = 4, name = "rig" } = {}) => {
    const made = new Pool(url, { connections, applicationName: name, deadlineMs: 10_000 });
    use({ [Symbol.asyncDispose]: () => made.close(1_000) });
    return made;
  };
  const handlersProducer = (name: string) => openProducer(pool({ connections: 1, name: `${name} sends` }), use, {});
  return {
    url: database.url,
    sql,
    use,
    pool,
    async topic(name, partitions) {
      const declared = topic(name, { schema: z.string(), partitions });
      return { topic: declared, entry: await openTopic(pool({ connections: 1 }), declared, { create: true }) };
    },
    producer: ({ url, ...options } = {}) =>
      openProducer(pool({ ...(url === undefined ? {} : { url }), name: "producer" }), use, options),
    async worker({ name, url = database.url, consumer, entry, log = (same) => same, ...options }) {
      const answers = options.answers ?? ((context) => new Answers(context));
      const own = pool({ url, name: `${name} pool` });
      const doorbell = new Doorbell(own, silentLogger);
      const groups = options.groups?.(own) ?? new Groups(own);
      // Joined straight, so that a proxy's faults are for the worker alone.
      const group = await new Groups(pool({ connections: 1 })).join(consumer.group, entry.number, consumer.start);
      const handlerPool = pool({ url, connections: 8, name: `${name} handlers` });
      const worker = new Worker(
        {
          sessionUrl: url,
          pool: own,
          log: log(new PostgresLog(own)),
          groups,
          doorbell,
          producer: await handlersProducer(name),
          answers: answers({ pool: own, doorbell, logger: silentLogger, clock: systemClock }),
          transactions: options.transactions?.(handlerPool) ?? new HandlerTransactions(handlerPool),
          logger: silentLogger,
          clock: systemClock,
        },
        [{ consumer, entry, group, ...(options.stage === undefined ? {} : { stage: options.stage }) }],
        {
          name,
          leaseMs: options.leaseMs ?? 10_000,
          heartbeatMs: (options.leaseMs ?? 10_000) / 4,
          drainMs: options.drainMs ?? 1_000,
          pollMs: options.pollMs ?? 100,
        },
      );
      use({
        async [Symbol.asyncDispose]() {
          await worker.close();
          await doorbell.idle();
        },
      });
      if (options.background !== true) await worker.started;
      return worker;
    },
    async [Symbol.asyncDispose]() {
      for (const resource of resources.splice(0).reverse()) await resource[Symbol.asyncDispose]();
    },
  };
}

/** Sends `count` values one after the other and notes what became of each. */
export async function sendMany(
  producer: Producer,
  to: Topic<string>,
  history: History,
  options: { readonly sender: string; readonly count: number; readonly partition?: number; readonly inFlight?: number },
): Promise<void> {
  const { sender, count, inFlight = 1 } = options;
  let next = 0;
  const lane = async () => {
    while (next < count) {
      const number = next++;
      const value = `${sender}-${number}`;
      try {
        const { partition, offset } = await producer.send(
          to,
          value,
          options.partition === undefined ? { key: sender } : { partition: options.partition },
        );
        history.sends.push({ sender, number, value, outcome: "acknowledged", partition, offset: offset ?? -1 });
      } catch (error) {
        const outcome = isSluiceError(error, "COMMIT_UNKNOWN") ? "unknown" : "failed";
        history.sends.push({ sender, number, value, outcome });
      }
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
}

/** Everything that a topic's view shows. */
export async function readTopic(sql: postgres.Sql, name: string): Promise<LogEntry[]> {
  return await sql<LogEntry[]>`
    select partition, "offset"::integer, value #>> '{}' as value from ${sql(`topics.${name}`)} order by 1, 2`;
}

/**
 * Breaks a function in the test's database on purpose: each part of its text that is named must be there, and is replaced.
 */
export async function plant(
  sql: postgres.Sql,
  name: string,
  ...changes: readonly (readonly [part: string | RegExp, replacement: string])[]
): Promise<void> {
  const functions = await sql<{ text: string }[]>`
    select pg_get_functiondef(oid) as text from pg_proc where pronamespace::regnamespace || '.' || proname = ${name}`;
  const texts = functions.map(({ text }) => text);
  for (const [part, replacement] of changes) {
    const before = texts.join();
    for (const [index, text] of texts.entries()) texts[index] = text.replace(part, replacement);
    // A defect that was not planted would make the test of the check pass for nothing, or fail for no reason.
    if (texts.join() === before) throw new Error(`the defect cannot be planted: ${name} does not hold ${part}`);
  }
  for (const text of texts) await sql.unsafe(text);
}

/** Ends the server processes whose application name begins with `name`, as a crash of them would. */
export async function killBackends(sql: postgres.Sql, name: string): Promise<number> {
  const killed = await sql`
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and starts_with(application_name, ${name})`;
  return killed.length;
}

/** Calls `again` until `work` is settled; fails with whichever fails first. */
export async function during<T>(work: Promise<T>, again: () => Promise<unknown>): Promise<T> {
  let running = true;
  const whole = work.finally(() => {
    running = false;
  });
  const disturb = async () => {
    while (running) await again();
  };
  const [result] = await Promise.all([whole, disturb()]);
  return result;
}
