import { setTimeout as wait } from "node:timers/promises";
import { eventually, type FaultyProxy, type HeldStatement, startProxy, testDatabase } from "@sluice/testkit";
import { sql as text } from "drizzle-orm";
import postgres from "postgres";
import {
  type App,
  connect,
  type HandlerContext,
  isSluiceError,
  type RunningApp,
  type Sluice,
  silentLogger,
} from "sluice";
import { killBackends } from "../../invariants/rig.ts";

/** Application names begin with it. */
const victimName = "victim";

/** How long anything may take before a test says what it waited for. */
const deadlineMs = 30_000;

/**
 * A database in which one process, the victim, works behind a proxy that strikes at its statements, and another can take its place. Effects
 * of messages are rows without a unique key, so that what happens twice shows.
 */
export class Room {
  readonly url: string;
  /** Straight to the server: for looking, and for effects that belong to no transaction of a handler. */
  readonly sql: postgres.Sql;
  readonly proxy: FaultyProxy;
  /** Sends without the proxy. */
  readonly sender: Sluice;
  /** The next number of a message; no two are alike. */
  #next = 0;
  /** What is owed an effect by now: exactly one, or at least one. */
  readonly #once = new Set<string>();
  readonly #atLeastOnce = new Set<string>();
  readonly #never = new Set<string>();
  readonly #end: () => Promise<void>;

  private constructor(url: string, sql: postgres.Sql, proxy: FaultyProxy, sender: Sluice, end: () => Promise<void>) {
    this.url = url;
    this.sender = sender;
    this.sql = sql;
    this.proxy = proxy;
    this.#end = end;
  }

  static async open(): Promise<Room> {
    const database = await testDatabase();
    const proxy = await startProxy(database.url);
    const sql = postgres(database.url, { max: 4, fetch_types: false, onnotice: () => undefined });
    await sql`create table public.effect (name text not null, worker text not null)`;
    const sender = await connect({ url: database.url, logger: silentLogger });
    return new Room(database.url, sql, proxy, sender, async () => {
      await sender.close();
      await proxy[Symbol.asyncDispose]();
      await sql.end();
      await database[Symbol.asyncDispose]();
    });
  }

  /** A value that no other message has. */
  value(): string {
    this.#next += 1;
    return `m${this.#next}`;
  }

  /** These values are owed an effect of this group: exactly one. */
  owe(group: string, values: readonly string[]): void {
    for (const value of values) this.#once.add(`${group} ${value}`);
  }

  /** The same, at least one: of groups whose handlers have no transaction. */
  oweAtLeast(group: string, values: readonly string[]): void {
    for (const value of values) this.#atLeastOnce.add(`${group} ${value}`);
  }

  /** These may have no effect: their senders were told that they are not in the log. */
  forbid(group: string, values: readonly string[]): void {
    for (const value of values) this.#never.add(`${group} ${value}`);
  }

  /** A handler that writes its effect in the transaction of its message. */
  once(worker: string): (context: HandlerContext<string>) => Promise<void> {
    return async (context) => {
      const tx = await context.tx();
      const name = `${context.group} ${context.value}`;
      await tx.execute(text`insert into public.effect (name, worker) values (${name}, ${worker})`);
    };
  }

  /** A handler that writes its effect by itself. */
  atLeastOnce(worker: string): (context: HandlerContext<string>) => Promise<void> {
    return async (context) => {
      await this
        .sql`insert into public.effect (name, worker) values (${`${context.group} ${context.value}`}, ${worker})`;
    };
  }

  /** Resolves once everything that is owed has had its effect. */
  async settled(): Promise<void> {
    let missing: readonly string[] = [];
    try {
      await eventually(
        "everything that is owed has had its effect",
        async () => {
          const rows = await this.sql<{ name: string }[]>`select distinct name from public.effect`;
          const there = new Set(rows.map(({ name }) => name));
          missing = [...this.#once, ...this.#atLeastOnce].filter((name) => !there.has(name));
          return missing.length === 0;
        },
        deadlineMs,
      );
    } catch (error) {
      const busy = await this.sql<{ line: string }[]>`
        select format('%s, %s on %s: %s', application_name, state, wait_event, left(query, 60)) as line from pg_stat_activity
        where datname = current_database() and state <> 'idle' and pid <> pg_backend_pid()`;
      throw new Error(`lost: ${missing.join(", ")}; at work: ${busy.map(({ line }) => line).join("; ")}`, {
        cause: error,
      });
    }
  }

  /** What had its effect twice, or although it must not. */
  async wrong(): Promise<string[]> {
    const rows = await this.sql<{ name: string; count: number; workers: string }[]>`
      select name, count(*)::integer as count, string_agg(worker, ', ') as workers from public.effect group by 1 order by 1`;
    return rows.flatMap(({ name, count, workers }) => [
      ...(this.#once.has(name) && count > 1 ? [`${name} had ${count} effects, by ${workers}`] : []),
      ...(this.#never.has(name) ? [`${name} had an effect although its sender was told that it was not sent`] : []),
    ]);
  }

  /** Starts the victim, as often as it takes: each time it fails it must have told, with an error of Sluice. */
  async startVictim(make: (worker: string) => App): Promise<RunningApp> {
    const until = performance.now() + deadlineMs;
    for (;;) {
      try {
        return await make(victimName).start({ url: this.proxy.url, logger: silentLogger, deliveryTimeout: "10s" });
      } catch (error) {
        if (!isSluiceError(error) || performance.now() > until) throw error;
        await wait(20);
      }
    }
  }

  /** Starts who takes its place. */
  startOther(make: (worker: string) => App): Promise<RunningApp> {
    return make("other").start({ url: this.url, logger: silentLogger });
  }

  /** The victim's session ends, as the server ends it when nothing was heard for the lease; only sooner. */
  async endSession(): Promise<void> {
    await killBackends(this.sql, `sluice ${victimName}`);
  }

  async endBackend({ backendPid }: HeldStatement): Promise<void> {
    await this.sql`select pg_terminate_backend(${backendPid})`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
  }
}
