import { SluiceError } from "@sluice/kernel";
import type postgres from "postgres";
import { connectClient, keepAlive } from "./client.ts";
import { withDeadline } from "./deadline.ts";
import { explain, type StatementParameter, type StatementRow } from "./pool.ts";
import { lockClass, type Presence } from "./presence.ts";
import { type Asked, Silence } from "./silence.ts";

const openingMs = 10_000;

/** How a session connects, and who is told what it hears. */
export interface SessionOptions {
  readonly applicationName: string;
  /** The server ends the session, and with it its locks, when nothing is heard from it for this long; 0: never. */
  readonly leaseMs: number;
  /** What tells when it is never answered, shared by all connections of a process that go the same way. Default: its own. */
  readonly silence?: Silence | undefined;
  /** What it listens on: letters, digits, `_`, `.` and `-`. Default `"sluice"`. */
  readonly channel?: string;
  /** A doorbell rang. */
  readonly onNotify: (payload: string) => void;
  /** The connection is gone, and with it every lock. Called once; never after `close`. */
  readonly onLost: () => void;
}

/**
 * The one connection of a process that holds its advisory locks and its LISTEN: never pooled, never recycled, never
 * silently reconnected. When it is lost, what it stood for is lost; open another.
 */
export class Session implements Presence {
  readonly isLeased = false;
  readonly #sql: postgres.Sql;
  readonly #silence: Silence;
  readonly #onLost: () => void;
  #state: "opening" | "open" | "lost" | "closed" = "opening";
  #backendPid = 0;

  private constructor(sql: postgres.Sql, silence: Silence, onLost: () => void) {
    this.#sql = sql;
    this.#silence = silence;
    this.#onLost = onLost;
  }

  /** Opens a session that listens. Fails as any call to the database does. */
  static async open(url: string, options: SessionOptions): Promise<Session> {
    const holder: { session?: Session } = {};
    const sql = connectClient(url, {
      max: 1,
      connection: { application_name: options.applicationName },
      // Not in the driver's types, but its own listen() is built on both.
      ...({
        onnotify: (_channel: string, payload: string) => options.onNotify(payload),
        onclose: () => holder.session?.lose(),
      } as object),
    });
    const shared = options.silence?.isOf(url) === true ? options.silence : undefined;
    const silence = shared ?? new Silence(url, options);
    const session = new Session(sql, silence, options.onLost);
    holder.session = session;
    try {
      const pid = await withDeadline(session.#begin(options), openingMs, "opening a session");
      session.#backendPid = pid;
      session.#state = "open";
      return session;
    } catch (error) {
      session.#state = "closed";
      await sql.end({ timeout: 0 });
      throw explain("opening a session", error);
    }
  }

  async #begin({ leaseMs, channel = "sluice" }: SessionOptions): Promise<number> {
    const settings = { ...keepAlive, idle_session_timeout: leaseMs };
    const set = Object.entries(settings).map(([name, value]) => `set_config('${name}', '${value}', false)`);
    const rows = await this.#sql.unsafe<{ pid: number }[]>(`select pg_backend_pid() as pid, ${set.join(", ")}`);
    await this.#sql.unsafe(`listen "${channel}"`);
    return rows[0]?.pid ?? 0;
  }

  /** The server process behind it. */
  get backendPid(): number {
    return this.#backendPid;
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** Runs one statement on this connection. Fails with DATABASE_UNREACHABLE once it is lost, CLOSED once it is closed. */
  async query<Row extends StatementRow>(
    what: string,
    statement: string,
    parameters: readonly StatementParameter[] = [],
    deadlineMs = 10_000,
  ): Promise<Row[]> {
    if (this.#state === "lost") throw new SluiceError("DATABASE_UNREACHABLE", `${what}: the session was lost`);
    if (this.#state !== "open") throw new SluiceError("CLOSED", `${what}: the session is closed`);
    try {
      const rows = this.#sql.unsafe<Row[]>(statement, parameters as StatementParameter[], { prepare: true });
      return await this.#silence.attend(rows, rows as Asked, what, { deadlineMs });
    } catch (error) {
      const explained = explain(what, error);
      // A session that does not answer cannot be relied on for its locks either.
      if (explained.code === "DATABASE_TIMEOUT") this.lose();
      throw explained;
    }
  }

  /** Takes a session lock if it is free. Never waits. */
  async tryLock(kind: keyof typeof lockClass, key: number): Promise<boolean> {
    const rows = await this.query<{ taken: boolean }>(
      `locking ${kind} ${key}`,
      "select pg_try_advisory_lock($1, $2) as taken",
      [lockClass[kind], key],
    );
    return rows[0]?.taken === true;
  }

  /** Lets a session lock go. */
  async unlock(kind: keyof typeof lockClass, key: number): Promise<void> {
    await this.query(`unlocking ${kind} ${key}`, "select pg_advisory_unlock($1, $2)", [lockClass[kind], key]);
  }

  /** Ends the connection; the server frees its locks at once. */
  async close(): Promise<void> {
    if (this.#state === "closed") return;
    this.#state = "closed";
    await this.#sql.end({ timeout: 2 });
  }

  /** It cannot be relied on any more; the driver calls it when the connection is gone. */
  lose(): void {
    if (this.#state !== "open") return;
    this.#state = "lost";
    // The driver would open another connection for the next statement, one without locks: never let it.
    this.#sql.end({ timeout: 0 }).then(this.#onLost, this.#onLost);
  }
}
