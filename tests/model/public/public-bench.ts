import { type FaultyProxy, startProxy, type TestDatabase, testDatabase } from "@sluice/testkit";
import postgres from "postgres";
import { connect, type Sluice, silentLogger } from "sluice";
import { effectTable, type HandlerDefect } from "./workload.ts";

/** What the members of a bench are. */
export interface BenchOptions {
  readonly kind: "app" | "process";
  readonly defect?: HandlerDefect | undefined;
}

/** The database, and a sender that reaches it through a proxy, for many runs one after the other; each has topics and groups of its own. */
export class PublicBench {
  readonly options: BenchOptions;
  readonly database: TestDatabase;
  /** For users' transactions, for looking, and for planting defects. */
  readonly sql: postgres.Sql;
  readonly proxy: FaultyProxy;
  readonly sluice: Sluice;
  /** How often each command was done to something. */
  readonly done = new Map<string, number>();
  #runs = 0;
  readonly #ending: Promise<void>[] = [];

  private constructor(
    options: BenchOptions,
    database: TestDatabase,
    sql: postgres.Sql,
    proxy: FaultyProxy,
    sluice: Sluice,
  ) {
    this.options = options;
    this.database = database;
    this.sql = sql;
    this.proxy = proxy;
    this.sluice = sluice;
  }

  static async open(options: BenchOptions): Promise<PublicBench> {
    const database = await testDatabase();
    const sql = postgres(database.url, { max: 3, onnotice: () => undefined });
    // No key says what happens once: what happens twice must show.
    await sql.unsafe(`
      create table ${effectTable} (
        effect bigint generated always as identity, run text not null, "group" text not null, n integer not null);
      create table public.business (run text not null, n integer not null)`);
    const proxy = await startProxy(database.url);
    const sluice = await connect({ url: proxy.url, logger: silentLogger });
    return new PublicBench(options, database, sql, proxy, sluice);
  }

  /** The name of a run that there was not yet. */
  nextRun(): string {
    this.#runs += 1;
    return `run${this.#runs}`;
  }

  /** Ends with the bench, if not before. */
  endLater(resources: readonly AsyncDisposable[]): void {
    for (const resource of resources) this.#ending.push(Promise.resolve(resource[Symbol.asyncDispose]()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#ending);
    await this.sluice.close();
    await this.proxy[Symbol.asyncDispose]();
    await this.sql.end();
    await this.database[Symbol.asyncDispose]();
  }
}
