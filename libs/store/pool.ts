import { SluiceError } from "@sluice/kernel";
import postgres from "postgres";
import { toDatabaseError } from "./database-error.ts";
import { withDeadline } from "./deadline.ts";
import { acrossHosts, hostsOf } from "./hosts.ts";

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
  /** How long one call may take before it fails with DATABASE_TIMEOUT. Default 30,000. */
  readonly deadlineMs?: number;
  /** Whether each transaction may have another server process, so that no statement stays prepared. Default false. */
  readonly isPooled?: boolean;
  /** Where {@link Pool.alone} connects. Default: where the pool does, unless that is pooled. */
  readonly sessionUrl?: string | undefined;
}

/** What the driver says of a connection that ended or was not to be had in time. */
const lostCodes: readonly unknown[] = ["CONNECT_TIMEOUT", "CONNECTION_CLOSED", "ECONNRESET", "EPIPE"];

/**
 * The way of every statement of Sluice into Postgres: prepared once per connection, bounded in time, its errors
 * classified. Failures are SluiceErrors; nothing else is thrown.
 *
 * When a call is not answered in time, the driver's client is replaced: postgres.js 3.4 has states in which a connection of
 * its pool never speaks again, and nothing tells them from a network that lost the answer. It is replaced, too, when a connection ends
 * under a call: the others to that server have most likely ended with it, and the driver would let what is asked next wait on them.
 */
export class Pool {
  readonly #url: string;
  readonly #options: PoolOptions;
  readonly #deadlineMs: number;
  #sql: postgres.Sql;
  #closed = false;

  constructor(url: string, options: PoolOptions) {
    this.#url = url;
    this.#options = options;
    this.#deadlineMs = options.deadlineMs ?? 30_000;
    this.#sql = this.#connect();
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
      return await withDeadline(rows, deadlineMs, what);
    } catch (error) {
      throw this.#judge(what, error, sql);
    }
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
      return (await this.#sql.begin(async (tx) => {
        await tx.unsafe(`set local lock_timeout = ${lockTimeoutMs}`);
        return await work(tx, true);
      })) as Result;
    }
    const sql = connectOptions(sessionUrl, { max: 1, connection: { application_name: applicationName } });
    try {
      // Not on connecting: poolers refuse settings there that they do not know.
      await sql.unsafe(`set lock_timeout = ${lockTimeoutMs}`);
      return await work(sql, false);
    } finally {
      await sql.end({ timeout: 5 });
    }
  }

  /** Ends its connections; statements under way get `timeoutMs` to finish. */
  async close(timeoutMs = 5_000): Promise<void> {
    this.#closed = true;
    await this.#sql.end({ timeout: timeoutMs / 1_000 });
  }

  #connect(): postgres.Sql {
    return connectOptions(this.#url, {
      max: this.#options.connections,
      // For every statement, whatever it asks for itself.
      ...(this.#options.isPooled === true ? { prepare: false } : {}),
      connection: { application_name: this.#options.applicationName },
    });
  }

  #judge(what: string, error: unknown, sql: postgres.Sql): SluiceError {
    const judged = explain(what, error);
    if (this.#closed) return judged;
    const isDeaf = judged.code === "DATABASE_TIMEOUT" && judged.sqlState === undefined;
    const isGone = lostCodes.includes((error as { code?: unknown }).code);
    if ((isDeaf || isGone) && sql === this.#sql) {
      this.#sql = this.#connect();
      // What others have under way there gets as long as any call; then it fails like a lost connection. Nobody waits.
      void sql.end({ timeout: this.#deadlineMs / 1_000 });
    }
    if (judged.code !== "CLOSED") return judged;
    // Not closed by its owner but replaced, as above: for the caller, a connection that was lost.
    return new SluiceError("DATABASE_UNREACHABLE", `${what}: the connection to the database was lost.`, {
      cause: error,
    });
  }
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

/**
 * A postgres.js client as Sluice wants it: no type look-up at connect (nothing here needs it), notices dropped, a bounded
 * wait for the connection; of several hosts in the URL the one that writes. A URL that does not parse is INVALID_OPTIONS.
 */
export function connectOptions(url: string, options: postgres.Options<Record<string, never>>): postgres.Sql {
  const { hosts, first } = hostsOf(url);
  if (!/^postgres(ql)?:\/\//.test(url) || !URL.canParse(first)) {
    throw new SluiceError(
      "INVALID_OPTIONS",
      "DATABASE_URL is not a URL such as postgres://user:password@host:5432/database",
    );
  }
  return postgres(first, {
    fetch_types: false,
    connect_timeout: 10,
    idle_timeout: 0,
    max_lifetime: null,
    onnotice: () => undefined,
    ...acrossHosts(hosts),
    ...options,
  }) as postgres.Sql;
}

/** `[1, 2]` as the array literal `{1,2}`. */
export function arrayLiteral(numbers: readonly number[]): string {
  return `{${numbers.join(",")}}`;
}

/** Texts and nulls as an array literal, quoted. */
export function textArrayLiteral(texts: readonly (string | null)[]): string {
  return `{${texts.map((text) => (text === null ? "NULL" : `"${text.replace(/["\\]/g, "\\$&")}"`)).join(",")}}`;
}
