import { setTimeout as wait } from "node:timers/promises";
import { type TestDatabase, testDatabase } from "@sluice/testkit";
import postgres from "postgres";
import {
  type App,
  type ConnectOptions,
  connect,
  type LogFields,
  type Logger,
  type RunningApp,
  type Sluice,
  silentLogger,
} from "sluice";

/** How long a test waits for what must happen, before it fails and says what it waited for. */
export const deadlineMs = 20_000;

/** A migrated database of one test's own, with a plain client to look into it. */
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
  return {
    url: database.url,
    sql,
    connect: (options = {}) => connect({ ...common, ...options }),
    start: (app, options = {}) => app.start({ ...common, ...options }),
    async [Symbol.asyncDispose]() {
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

/** Asks again until the answer is not undefined; for what only the database knows. Fails after {@link deadlineMs}. */
export async function eventually<Answer>(what: string, ask: () => Promise<Answer | undefined>): Promise<Answer> {
  const endsAt = performance.now() + deadlineMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > endsAt) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await wait(10);
  }
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
