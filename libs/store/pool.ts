import { SluiceError } from "@sluice/kernel";
import type postgres from "postgres";
import { connectClient, keepAlive } from "./client.ts";
import { toDatabaseError } from "./database-error.ts";
import { guardTransactions } from "./guarded-transactions.ts";
import { type Asked, Silence } from "./silence.ts";

/** A value that a statement of Sluice takes: arrays travel as array literals in text. */
export type StatementParameter = string | number | boolean | null;

/** A row as it comes: 64-bit integers and arrays are text, so that nothing is rounded on the way. */
export type StatementRow = Readonly<Record<string, unknown>>;

/** How a pool connects. */
export interface PoolOptions {
  /** Connections at most; opened when needed. */
  readonly connections: number;
  /** Shown in `pg_stat_activity`. */
  readonly applicationName: string;
  /** How long the server may work on one call before it fails with DATABASE_TIMEOUT. Default 30,000. */
  readonly deadlineMs?: number;
  /** Whether each transaction may have another server process, so that no statement stays prepared. Default false. */
  readonly isPooled?: boolean;
  /** Whether nothing stands between it and the server, which then takes settings at connecting. Default false. */
  readonly isDirect?: boolean;
  /** Settings of the server for its connections, where {@link isDirect} says that it takes them. Default: none. */
  readonly settings?: Readonly<Record<string, string>>;
  /** What tells when calls are never answered, shared by all connections of a process to the database. Default: its own. */
  readonly silence?: Silence;
  /** Where {@link Pool.alone} connects. Default: where the pool does, unless that is pooled. */
  readonly sessionUrl?: string | undefined;
}

/** What the driver says of a connection that ended or was not to be had in time. */
const lostCodes: readonly unknown[] = ["CONNECT_TIMEOUT", "CONNECTION_CLOSED", "ECONNRESET", "EPIPE"];
/** What the server says before it ends a connection. */
const endingStates: readonly unknown[] = ["57P01", "57P02", "57P03", "57P05", "25P03", "25P04"];

/**
 * The way of every statement of Sluice into Postgres: prepared once per connection, bounded in time, its errors
 * classified. Failures are SluiceErrors; nothing else is thrown.
 *
 * When a call is not answered in time, the driver's client is replaced: postgres.js 3.4 has states in which a connection of its pool never
 * speaks again. (One that ends while a short statement waits to be written keeps that statement, and believes for ever that it is being
 * written: every attempt to connect again ends in CONNECT_TIMEOUT.) Nothing tells them from a network that lost the answer. It is replaced,
 * too, when any connection of the process was found silent ({@link Silence}), and when one ends under a call: the others to that server have
 * most likely ended with it, and the driver would let what is asked next wait on them.
 */
export class Pool {
  readonly #url: string;
  readonly #options: PoolOptions;
  readonly #deadlineMs: number;
  #sql: postgres.Sql;
  readonly #silence: Silence;
  readonly #stopHeeding: () => void;
  /** Clients that were replaced, until what others have under way there has ended. */
  readonly #replaced = new Set<postgres.Sql>();
  #closed = false;

  constructor(url: string, options: PoolOptions) {
    this.#url = url;
    this.#options = options;
    this.#deadlineMs = options.deadlineMs ?? 30_000;
    this.#sql = this.#connect();
    this.#silence = options.silence ?? new Silence(url, options);
    this.#stopHeeding = this.#silence.onFound(() => this.#replace());
  }

  /** The driver's client as it is now; ask again for each use. */
  get sql(): postgres.Sql {
    return this.#sql;
  }

  /**
   * Runs one statement from an .sql file and gives its rows.
   *
   * @param what names the call in errors, for people: `"appending to topic signups"`
   */
  async query<Row extends StatementRow>(
    what: string,
    statement: string,
    parameters: readonly StatementParameter[] = [],
    deadlineMs = this.#deadlineMs,
  ): Promise<Row[]> {
    const sql = this.#sql;
    try {
      const rows = sql.unsafe<Row[]>(statement, parameters as StatementParameter[], {
        prepare: true,
        ...(this.#options.isPooled === true ? oneAtATime : {}),
      });
      return await this.attend(sql, rows, rows as Asked, what, deadlineMs);
    } catch (error) {
      throw this.#judge(what, error, sql);
    }
  }

  /**
   * The outcome of a call that somebody makes of one of its clients, bounded as {@link query} is. Fails with DATABASE_TIMEOUT, or as the call does.
   */
  async attend<Result>(
    sql: postgres.Sql,
    work: PromiseLike<Result>,
    asked: Asked,
    what: string,
    deadlineMs = this.#deadlineMs,
  ): Promise<Result> {
    return await this.#silence.attend(work, asked, what, { deadlineMs, isGivenUp: () => sql !== this.#sql });
  }

  /**
   * Hands out a connection of its own, where locks are waited for no longer than `lockTimeoutMs`, for statements that must
   * not run inside a transaction. Ended when `work` is over. Where no session is to be had it is a transaction after all, and `work` is told.
   */
  async alone<Result>(
    lockTimeoutMs: number,
    work: (sql: postgres.ISql, isTransaction: boolean) => Promise<Result>,
  ): Promise<Result> {
    const { applicationName, isPooled = false, sessionUrl = isPooled ? undefined : this.#url } = this.#options;
    if (sessionUrl === undefined) {
      return (await guardTransactions(this.#sql).begin(async (tx) => {
        await tx.unsafe(`set local lock_timeout = ${lockTimeoutMs}`);
        return await work(tx, true);
      })) as Result;
    }
    const sql = connectClient(sessionUrl, { max: 1, connection: { application_name: applicationName } });
    try {
      // Not on connecting: poolers refuse settings there that they do not know.
      await sql.unsafe(`set lock_timeout = ${lockTimeoutMs}`);
      return await work(sql, false);
    } finally {
      await sql.end({ timeout: 5 });
    }
  }

  /**
   * Hears with what error somebody else's call of one of its clients ended, such as a transaction: a client that has lost a connection is
   * replaced, as after a call of {@link query}.
   */
  heed(sql: postgres.Sql, error: unknown): void {
    if (!this.#closed && sql === this.#sql && hasLostConnection(toDatabaseError(error))) this.#replace();
  }

  /** Ends its connections; statements under way get `timeoutMs` to finish. */
  async close(timeoutMs = 5_000): Promise<void> {
    this.#closed = true;
    this.#stopHeeding();
    // Who waited on what was replaced has been told.
    const replaced = [...this.#replaced].map((sql) => sql.end({ timeout: 0 }));
    await Promise.all([this.#sql.end({ timeout: timeoutMs / 1_000 }), ...replaced]);
  }

  #connect(): postgres.Sql {
    return connectClient(this.#url, {
      max: this.#options.connections,
      // For every statement, whatever it asks for itself.
      ...(this.#options.isPooled === true ? { prepare: false } : {}),
      connection: {
        application_name: this.#options.applicationName,
        ...(this.#options.isDirect === true ? { ...keepAlive, ...this.#options.settings } : {}),
      },
    });
  }

  #replace(): void {
    const replaced = this.#sql;
    this.#sql = this.#connect();
    this.#replaced.add(replaced);
    // Its connections end as soon as what others have under way there has an end, and then it takes no more. Nobody waits.
    // (Not in the driver's types; end() alone would have to be told now how long they may take.)
    const { close } = replaced as unknown as { readonly close: () => Promise<void> };
    const ended = close().then(() => replaced.end({ timeout: 0 }));
    void ended.finally(() => this.#replaced.delete(replaced));
  }

  #judge(what: string, error: unknown, sql: postgres.Sql): SluiceError {
    const judged = explain(what, error);
    if (this.#closed) return judged;
    if (hasLostConnection(judged) && sql === this.#sql) this.#replace();
    if (judged.code !== "CLOSED") return judged;
    // Not closed by its owner but replaced, as above: for the caller, a connection that was lost.
    return new SluiceError("DATABASE_UNREACHABLE", `${what}: the connection to the database was lost.`, {
      cause: error,
    });
  }
}

/** Whether a connection is gone with this error, or of no use any more. */
function hasLostConnection({ code, sqlState, cause }: SluiceError): boolean {
  if (sqlState !== undefined) return endingStates.includes(sqlState);
  return code === "DATABASE_TIMEOUT" || lostCodes.includes((cause as { code?: unknown } | undefined)?.code);
}

/** A classified error that also tells what was being done. */
export function explain(what: string, error: unknown): SluiceError {
  const classified = toDatabaseError(error);
  if (classified.message.startsWith(what)) return classified;
  return new SluiceError(classified.code, `${what}: ${classified.message}`, {
    cause: classified.cause ?? error,
    problems: classified.problems,
    ...(classified.sqlState === undefined ? {} : { sqlState: classified.sqlState }),
  });
}

/**
 * How statements are sent behind a pooler that gives each transaction another backend: one at a time per connection. The driver would send
 * the next one before the one before is answered, in two steps, and pgbouncer 1.18 gives the backend away between the two: the second step is
 * never answered. (The driver's transactions use this option, which is not in its types, to keep a connection to themselves.)
 */
const oneAtATime = { onexecute: () => false };

/** `[1, 2]` as the array literal `{1,2}`. */
export function arrayLiteral(values: readonly (number | boolean)[]): string {
  return `{${values.join(",")}}`;
}

/** Texts and nulls as an array literal, quoted. */
export function textArrayLiteral(texts: readonly (string | null)[]): string {
  return `{${texts.map((text) => (text === null ? "NULL" : `"${text.replace(/["\\]/g, "\\$&")}"`)).join(",")}}`;
}
