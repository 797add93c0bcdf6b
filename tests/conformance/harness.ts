import assert from "node:assert/strict";
import { eventually, type TestDatabase, testDatabase } from "@sluice/testkit";
import postgres from "postgres";
import {
  type App,
  type ConnectOptions,
  connect,
  isSluiceError,
  type LogFields,
  type Logger,
  type RunningApp,
  type Sluice,
  type SluiceError,
  silentLogger,
} from "sluice";

export { eventually };

/** How long a test waits for what must happen, before it fails and says what it waited for. */
const deadlineMs = 20_000;

/**
 * A migrated database of one test's own, with a plain client to look into it. What a test that fails leaves open is closed at its end: else the
 * connections that are left would be what is told, and not why it failed.
 */
export interface World {
  readonly url: string;
  /** For looking, and for what a user would write by hand. */
  readonly sql: postgres.Sql;
  /** Connects to it; silent unless a logger is given. */
  connect(options?: ConnectOptions): Promise<Sluice>;
  /** Starts an app on it; silent unless a logger is given. */
  start(app: App, options?: ConnectOptions): Promise<RunningApp>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Makes one; `await using`, declared before everything that connects to it. */
export async function world(): Promise<World> {
  const database: TestDatabase = await testDatabase();
  const sql = postgres(database.url, { max: 8, onnotice: () => undefined });
  const common = { url: database.url, logger: silentLogger };
  const opened: { close(): Promise<unknown> }[] = [];
  const open = async <Opened extends (typeof opened)[number]>(opening: Promise<Opened>): Promise<Opened> => {
    const one = await opening;
    opened.push(one);
    return one;
  };
  return {
    url: database.url,
    sql,
    connect: (options = {}) => open(connect({ ...common, ...options })),
    start: (app, options = {}) => open(app.start({ ...common, ...options })),
    async [Symbol.asyncDispose]() {
      // (What the test has closed is closed once.)
      await Promise.all(opened.map((one) => one.close()));
      await sql.end();
      await database[Symbol.asyncDispose]();
    },
  };
}

/** Gathers what handlers saw, and wakes who waits for it. */
export class Inbox<Item> {
  readonly items: Item[] = [];
  #wake = Promise.withResolvers<void>();

  add(item: Item): void {
    this.items.push(item);
    this.#wake.resolve();
    this.#wake = Promise.withResolvers<void>();
  }

  /** Resolves with everything gathered once it is `count` items or more; fails after {@link deadlineMs}. */
  async until(count: number): Promise<readonly Item[]> {
    const given = AbortSignal.timeout(deadlineMs);
    const late = Promise.withResolvers<never>();
    // Whoever waits hears of it through the race; when nobody waits any more, it is nobody's affair.
    late.promise.catch(() => undefined);
    const onAbort = () => late.reject(new Error(`${this.items.length} of ${count} arrived within ${deadlineMs} ms`));
    given.addEventListener("abort", onAbort);
    try {
      while (this.items.length < count) await Promise.race([this.#wake.promise, late.promise]);
    } finally {
      given.removeEventListener("abort", onAbort);
    }
    return this.items;
  }
}

/**
 * Lets time pass, by the database's clock. For two things alone: what lives for less has expired afterwards, and what must not happen
 * has had its chance. (Nothing tells that something does not happen. On a slow machine such a test may miss a fault; it never invents
 * one.) Whatever is to happen is waited for by {@link eventually} or an {@link Inbox}.
 */
export async function letTimePass(sql: postgres.Sql | postgres.TransactionSql, ms: number): Promise<void> {
  await sql`select pg_sleep(${ms / 1_000})`;
}

/** Resolves once a group has committed everything that its topic holds. */
export function caughtUp(sql: postgres.Sql, group: string): Promise<true> {
  return eventually(`group ${group} is at the end`, async () => {
    const [row] = await sql<{ partitions: number; lag: number }[]>`
      select count(*)::int as partitions, sum(end_offset - committed_offset)::int as lag
      from sluice.lag where "group" = ${group}`;
    return row !== undefined && row.partitions > 0 && row.lag === 0 ? (true as const) : undefined;
  });
}

/** Resolves once a shared group has done everything: nothing is behind, leased, or waiting for another attempt. */
export function workedOff(sql: postgres.Sql, group: string): Promise<true> {
  return eventually(`shared group ${group} has done everything`, async () => {
    const [row] = await sql<{ lag: number; waiting: number }[]>`
      select (select sum(lag)::int from sluice.lag where "group" = ${group}) as lag,
        ((select count(*) from sluice.pending where "group" = ${group})
          + (select count(*) from sluice.shared_retries where "group" = ${group}))::int as waiting`;
    return row?.lag === 0 && row.waiting === 0 ? (true as const) : undefined;
  });
}

/** The error of Sluice with which something is refused. Fails when it is not. */
export function thrownBy(work: () => unknown): SluiceError {
  try {
    work();
  } catch (error) {
    assert.ok(isSluiceError(error), String(error));
    return error;
  }
  throw new assert.AssertionError({ message: "it was accepted" });
}

/** A line that was logged. */
export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields;
}

/** A logger that keeps its lines, from debug on. */
export function recordingLogger(): Logger & { readonly lines: readonly LogLine[] } {
  const lines: LogLine[] = [];
  return {
    lines,
    isEnabled: () => true,
    log: (level, message, fields = {}) => lines.push({ level, message, fields }),
  };
}

/** Whole numbers from 0. */
export function count(to: number): number[] {
  return Array.from({ length: to }, (_, index) => index);
}
