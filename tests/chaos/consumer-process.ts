// Run as a process of its own: a member of every group, which writes to its history what it has handled, and has relay and the other duties.
import process from "node:process";
import { setTimeout as wait } from "node:timers/promises";
import { HistoryWriter, runsOf, steadyNow } from "@sluice/testkit/checker";
import { sql } from "drizzle-orm";
import { app, consumer, fixed, type HandlerContext, type RunningApp, silentLogger } from "sluice";
import { bulk, endAtOnce, exact, globalPartition, type Message, prefetch, processOptions } from "./workload.ts";

const options = processOptions();
process.on("uncaughtException", endAtOnce);
const history = new HistoryWriter(options.historyFile);

/** Writes what was handled in one turn of the event loop as one line for each group, before the handlers return. */
class Handled {
  readonly #waiting = new Map<string, HandlerContext<Message>[]>();
  #written: Promise<void> | undefined;

  note(messages: readonly HandlerContext<Message>[]): Promise<void> {
    for (const message of messages) {
      const line = this.#waiting.get(message.group) ?? [];
      line.push(message);
      this.#waiting.set(message.group, line);
    }
    this.#written ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#write();
        resolve();
      });
    });
    return this.#written;
  }

  #write(): void {
    this.#written = undefined;
    for (const [group, messages] of this.#waiting) {
      // Within a partition they stay in the order in which they were handed over.
      const places = messages
        .map(
          ({ topic, partition, offset, value }) =>
            [globalPartition(topic, partition), offset, value.s, value.n] as const,
        )
        .sort((left, right) => left[0] - right[0]);
      void history.write({ op: "poll", process: options.name, time: steadyNow(), group, runs: runsOf(places) });
    }
    this.#waiting.clear();
    history.flush();
  }
}

const handled = new Handled();

/**
 * The effect of a message: a row that has no unique key, and an account that must add up; now and then it takes its time. Messages of a partition
 * share two accounts of their group, so that handlers at a time wait for each other and now and then deadlock.
 */
async function writeEffect(context: HandlerContext<Message>): Promise<void> {
  const tx = await context.tx();
  const { group, partition, offset, value } = context;
  const accountOf = (number: number) => (group === "effects-in-order" ? 0 : 16) + partition * 2 + (number % 2);
  await tx.execute(
    sql`insert into chaos.effect ("group", partition, "offset", process) values (${group}, ${globalPartition(exact.name, partition)}, ${offset}, ${options.name})`,
  );
  await tx.execute(sql`update chaos.account set balance = balance + 1 where account = ${accountOf(value.n)}`);
  // No multiple of a number that the keys come from: else all of these would be of one key, and its partition slower than its share of faults.
  if (value.n % 41 === 0) {
    await wait(300);
    await tx.execute(sql`update chaos.account set balance = balance where account = ${accountOf(value.s)}`);
  }
}

const patient = { retry: { attempts: 1_000, backoff: fixed("50ms") }, prefetch } as const;
const consumers = [
  options.commitsFirst
    ? consumer(bulk, {
        group: "in-order",
        mode: "ordered",
        commit: "explicit",
        ...patient,
        handler: async (context) => {
          await context.commit();
          await wait(5);
          await handled.note([context]);
        },
      })
    : consumer(bulk, {
        group: "in-order",
        mode: "ordered",
        ...patient,
        batch: { size: 200 },
        batchHandler: ({ messages }) => handled.note(messages),
      }),
  consumer(bulk, {
    group: "by-key",
    mode: "keyed",
    concurrency: 64,
    ...patient,
    handler: async (context) => {
      if (context.value.n % 4_001 === 0 && context.attempt === 1) throw new Error("fails the first time, on purpose");
      await handled.note([context]);
    },
  }),
  consumer(bulk, {
    group: "together",
    mode: "shared",
    concurrency: 128,
    ...patient,
    handler: (context) => handled.note([context]),
  }),
  consumer(exact, {
    group: "effects-in-order",
    mode: "ordered",
    ...patient,
    batch: { size: 50 },
    batchHandler: async ({ messages }) => {
      for (const each of messages) await writeEffect(each);
    },
  }),
  consumer(exact, { group: "effects-by-key", mode: "keyed", concurrency: 4, ...patient, handler: writeEffect }),
];

let isStopping = false;
const stop = new Promise<void>((resolve) => {
  process.on("SIGTERM", () => {
    isStopping = true;
    resolve();
  });
});

/** The server may be down at the moment. */
async function startAtLast(): Promise<RunningApp> {
  for (;;) {
    try {
      return await app({
        name: options.name,
        consumers,
        lease: "2s",
        heartbeat: "500ms",
        drain: "3s",
        poll: "500ms",
        transactionConnections: 6,
      }).start({ url: options.url, migrate: false, connections: 3, logger: silentLogger });
    } catch (error) {
      if (isStopping) throw error;
      await wait(200);
    }
  }
}

const running = await startAtLast();
await stop;
await running.close();
history.close();
process.exit(0);
