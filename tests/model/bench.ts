import {
  addMember,
  DeadLetters,
  Delays,
  Doorbell,
  GroupAdministration,
  Groups,
  RedrivenMessages,
  Relay,
  Retries,
} from "@sluice/broker";
import { silentLogger } from "@sluice/kernel";
import { nextProducerNumber, PostgresLog, type TopicEntry } from "@sluice/log";
import { Pool, Session } from "@sluice/store";
import { type TestDatabase, testDatabase } from "@sluice/testkit";
import postgres from "postgres";
import { hours } from "./log-model.ts";

/** Where the effects of handlers go, by topic. */
export const effectsTable = "public.model_effect";
export const partitions = 2;
export const memberNames = ["anna", "ben"] as const;
const hourMs = 3_600_000;

/** A member: its number, and the session that stands for what it owns. */
export interface BenchMember {
  readonly number: number;
  readonly session: Session;
}

/** What a duty's owner has: its epoch, and what it remembers. */
export interface Term {
  readonly epoch: number;
  readonly relay: Relay;
  readonly delays: Delays;
}

/**
 * The database and what of Sluice runs on it, for many runs of the model one after the other. Each has a topic and groups of its own, so
 * that it sees nothing of those before.
 */
export class Bench {
  readonly database: TestDatabase;
  /** For users' transactions, and for planting defects. */
  readonly sql: postgres.Sql;
  /** For looking at what there is, by statements that are planned once. */
  readonly looking: postgres.Sql;
  readonly pool: Pool;
  readonly members: ReadonlyMap<string, BenchMember>;
  readonly groups: Groups;
  readonly retries: Retries;
  readonly redriven: RedrivenMessages;
  readonly letters: DeadLetters;
  readonly administration: GroupAdministration;
  /** Of the duties of relay and of delays: the last one is in force. */
  readonly terms: Term[] = [];
  /** How often each command was done to something. */
  readonly done = new Map<string, number>();
  readonly #doorbell: Doorbell;
  #runs = 0;

  private constructor(
    database: TestDatabase,
    sql: postgres.Sql,
    pool: Pool,
    members: ReadonlyMap<string, BenchMember>,
  ) {
    this.database = database;
    this.sql = sql;
    this.looking = postgres(database.url, {
      max: 1,
      fetch_types: false,
      connection: { plan_cache_mode: "force_generic_plan" },
    });
    this.pool = pool;
    this.members = members;
    this.groups = new Groups(pool);
    this.retries = new Retries(pool);
    this.redriven = new RedrivenMessages(pool);
    this.letters = new DeadLetters(pool);
    this.administration = new GroupAdministration(pool);
    this.#doorbell = new Doorbell(pool, silentLogger);
  }

  static async open(): Promise<Bench> {
    const database = await testDatabase();
    // With its types fetched: without, the driver's reserve() waits for ever on a connection that it opens for it.
    const sql = postgres(database.url, { max: 6, onnotice: () => undefined });
    const pool = new Pool(database.url, { connections: 2, applicationName: "model", deadlineMs: 20_000 });
    await sql.unsafe(`create table ${effectsTable} (topic text not null, place text not null)`);
    const members = new Map<string, BenchMember>();
    for (const name of memberNames) {
      const session = await Session.open(database.url, {
        applicationName: `model ${name}`,
        leaseMs: 0,
        onNotify: () => undefined,
        onLost: () => undefined,
      });
      members.set(name, { number: await addMember(session, name, hourMs), session });
    }
    const bench = new Bench(database, sql, pool, members);
    await bench.newTerm();
    return bench;
  }

  member(name: string): BenchMember {
    const member = this.members.get(name);
    if (member === undefined) throw new Error(`there is no member ${name}`);
    return member;
  }

  /** Another process takes the duties of moving messages over: it knows nothing of what the one before did. */
  async newTerm(): Promise<void> {
    const [row] = await this.sql<{ relay: string; delays: string }[]>`
      select sluice.take_duty(1, 'model') as relay, sluice.take_duty(3, 'model') as delays`;
    const epoch = Number(row?.relay);
    // One number for both, so that a term is one thing.
    await this.sql`update sluice.duty set epoch = ${epoch} where duty = 3`;
    this.terms.push({
      epoch,
      relay: new Relay(this.pool, this.#doorbell),
      delays: new Delays(this.pool, this.#doorbell),
    });
  }

  /** A topic of one run's own, and what the run works with. */
  async topic(): Promise<{
    readonly entry: TopicEntry;
    readonly log: PostgresLog;
    readonly producers: readonly number[];
  }> {
    this.#runs += 1;
    const name = `run_${this.#runs}`;
    const retentionMs = hours.retention * hourMs;
    const segmentMs = hours.segment * hourMs;
    const [row] = await this.sql<{ number: number }[]>`
      select sluice.create_topic(${name}, ${partitions}, p_retention_ms => ${retentionMs}, p_segment_ms => ${segmentMs}) as number`;
    const entry: TopicEntry = {
      number: Number(row?.number),
      name,
      partitions,
      priorities: 1,
      encoding: "json",
      guards: { deduplicateMs: null, maxDepth: null, timeToLiveMs: null, overflow: "reject", drops: false },
    };
    const producers = [await nextProducerNumber(this.pool), await nextProducerNumber(this.pool)];
    return { entry, log: new PostgresLog(this.pool), producers };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { session } of this.members.values()) await session.close();
    await this.#doorbell.idle();
    await this.pool.close(1_000);
    await this.looking.end();
    await this.sql.end();
    await this.database[Symbol.asyncDispose]();
  }
}
