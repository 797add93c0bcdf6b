import { SluiceError } from "@sluice/kernel";
import type { Pool, StatementParameter, StatementRow } from "./pool.ts";
import letDutyGo from "./sql/let-duty-go.sql" with { type: "text" };

/** What a process's membership stands for, by the classes of the advisory locks in migrations/0001_log.sql. */
export const lockClass = { owner: 1936487684, member: 1936487685, duty: 1936487686 } as const;

/**
 * What a process's membership hangs on: a session and its locks, or where there is none, the lease of its row. While it is open, the
 * member lives; once it is lost, what it stood for is lost; open another.
 */
export interface Presence {
  /** Whether it hangs on the lease of the member's row: then the heartbeat is all that keeps it. */
  readonly isLeased: boolean;
  /** The server process behind it; 0 where each transaction may have another. */
  readonly backendPid: number;
  readonly isOpen: boolean;
  /** Runs one statement. Fails with DATABASE_UNREACHABLE once it is lost, CLOSED once it is closed. */
  query<Row extends StatementRow>(
    what: string,
    statement: string,
    parameters?: readonly StatementParameter[],
    deadlineMs?: number,
  ): Promise<Row[]>;
  /** Takes what this stands for, if no session has it. Never waits. */
  tryLock(kind: keyof typeof lockClass, key: number): Promise<boolean>;
  /** Lets it go. */
  unlock(kind: keyof typeof lockClass, key: number): Promise<void>;
  /** The lease ran out, or may have: it is over. */
  lose(): void;
  close(): Promise<void>;
}

/**
 * The presence of a member that has no session, by its lease alone. It locks nothing: whether a position or a duty is free is
 * decided by the rows when it is taken, see migrations/0023_poolers.sql.
 */
export class LeasedPresence implements Presence {
  readonly isLeased = true;
  readonly backendPid = 0;
  readonly #pool: Pool;
  readonly #onLost: () => void;
  #member: number | undefined;
  #state: "open" | "lost" | "closed" = "open";

  /** @param onLost the lease is over. Called once; never after `close` */
  constructor(pool: Pool, onLost: () => void) {
    this.#pool = pool;
    this.#onLost = onLost;
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  async query<Row extends StatementRow>(
    what: string,
    statement: string,
    parameters: readonly StatementParameter[] = [],
    deadlineMs = 10_000,
  ): Promise<Row[]> {
    if (this.#state === "lost") throw new SluiceError("DATABASE_UNREACHABLE", `${what}: the lease has run out`);
    if (this.#state === "closed") throw new SluiceError("CLOSED", `${what}: the member has left`);
    return await this.#pool.query<Row>(what, statement, parameters, deadlineMs);
  }

  async tryLock(kind: keyof typeof lockClass, key: number): Promise<boolean> {
    if (kind === "member") this.#member = key;
    return this.isOpen;
  }

  async unlock(kind: keyof typeof lockClass, key: number): Promise<void> {
    // A position is let go when it is released, and everything when the member leaves.
    if (kind !== "duty" || this.#member === undefined) return;
    await this.query(`letting duty ${key} go`, letDutyGo, [key, this.#member]);
  }

  lose(): void {
    if (this.#state !== "open") return;
    this.#state = "lost";
    this.#onLost();
  }

  async close(): Promise<void> {
    this.#state = "closed";
  }
}
