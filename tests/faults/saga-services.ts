import { setImmediate } from "node:timers/promises";
import { guardTransactions, withDeadline } from "@sluice/store";
import { testDatabase } from "@sluice/testkit";
import postgres from "postgres";
import {
  type AnyTopic,
  app,
  type ConsumedRecord,
  consumer,
  fixed,
  type RunningApp,
  silentLogger,
  type Topic,
  topic,
} from "sluice";
import { z } from "zod";

const placedSchema = z.object({ order: z.string(), item: z.string(), customer: z.string(), amount: z.number() });

/** Told by the order service. */
export const ordersPlaced = topic("orders-placed", { schema: placedSchema, key: ({ order }) => order, partitions: 2 });
/** Told by the stock service. */
export const stockEvents = topic("stock-events", {
  schema: placedSchema.extend({ kind: z.enum(["reserved", "rejected"]) }),
  key: ({ order }) => order,
  partitions: 2,
});
/** Told by the payment service. */
export const paymentEvents = topic("payment-events", {
  schema: placedSchema.extend({ kind: z.enum(["paid", "refused"]) }),
  key: ({ order }) => order,
  partitions: 2,
});

/** A service with a database of its own. */
export interface Service {
  readonly name: string;
  readonly url: string;
  /** A transaction of its own. */
  transaction(work: (tx: postgres.TransactionSql) => Promise<void>): Promise<void>;
  /** For looking. */
  readonly sql: postgres.Sql;
  /** Sends and relays what it tells. */
  readonly told: RunningApp;
  /** Handles what another service tells: its work commits in this database, once for each message. */
  listen<Value>(to: Service, from: Topic<Value>, work: Work<Value>): Promise<void>;
  /** Listens to nobody and tells nothing any more. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** What a service does with a message, within a transaction of its own. */
export type Work<Value> = (value: Value, tx: postgres.TransactionSql) => Promise<void>;

/** How the test disturbs services. */
export interface Trouble {
  /** Called before and after each commit; throws now and then. */
  strike(where: "before" | "after"): void;
  /** Breaks services on purpose: they forget what they have handled. */
  readonly forgetful?: boolean;
}

/** Starts a service: a database with its tables, what it tells, and an inbox that makes its work happen once. */
export async function startService(name: string, tells: AnyTopic, tables: string, trouble: Trouble): Promise<Service> {
  const database = await testDatabase();
  const connect = (label: string) =>
    postgres(database.url, {
      max: 4,
      // Killed while it asks for types, the driver would throw where nobody can catch it.
      fetch_types: false,
      onnotice: () => undefined,
      connection: { application_name: `${name} ${label}` },
    });
  const sql = connect("look");
  // One of its own for each piece of work, so that one that was killed harms nothing else.
  const transaction: Service["transaction"] = async (work) => {
    const own = connect("own");
    try {
      await transact(guardTransactions(own), work);
    } finally {
      await own.end({ timeout: 1 });
    }
  };
  await sql.unsafe(`create table inbox (source text not null, id text not null); ${tables}`);
  if (trouble.forgetful !== true) await sql`alter table inbox add primary key (source, id)`;
  const start = (declared: ReturnType<typeof app>, url: string) => declared.start({ url, logger: silentLogger });
  const told = await start(app({ name: `${name} tells`, topics: [tells] }), database.url);
  const listening: RunningApp[] = [];
  return {
    name,
    url: database.url,
    transaction,
    sql,
    told,
    async listen<Value>(to: Service, from: Topic<Value>, work: Work<Value>) {
      const handler = async (c: ConsumedRecord<Value>) => {
        await transaction(async (tx) => {
          const fresh = await tx`
            insert into inbox (source, id) values (${c.topic}, ${c.id}) on conflict do nothing returning id`;
          if (fresh.length > 0) await work(c.value, tx);
          trouble.strike("before");
        });
        trouble.strike("after");
      };
      const retry = { attempts: 1_000, backoff: fixed("10ms") };
      const listener = consumer(from, { group: name, mode: "keyed", commitInterval: 20, retry, handler });
      listening.push(await start(app({ name: `${name} listens`, consumers: [listener], drain: "2s" }), to.url));
    },
    async stop() {
      await Promise.all([told, ...listening].map((running) => running.close()));
    },
    async [Symbol.asyncDispose]() {
      await sql.end();
      await database[Symbol.asyncDispose]();
    },
  };
}

/**
 * A transaction over postgres.js whose connection may be killed: the driver's own ROLLBACK on a connection that is gone would
 * throw where nobody can catch it, so nobody asks for one then. And it has a deadline, as a statement on a connection that is just
 * being reset may wait in vain.
 */
async function transact(own: postgres.Sql, work: (tx: postgres.TransactionSql) => Promise<void>): Promise<void> {
  const connection = { isGone: false };
  const whole = own.begin(async (tx) => {
    const outcome = await work(tx).then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    // A connection that has just failed is closed a turn later.
    for (let turn = 0; turn < 2 && !connection.isGone; turn += 1) await setImmediate();
    if (connection.isGone) await new Promise<never>(() => undefined);
    if (outcome !== undefined) throw outcome.error;
  });
  const gone = () => {
    connection.isGone = true;
  };
  whole.then(gone, gone);
  await withDeadline(whole, 2_000, "the work of a service");
}
