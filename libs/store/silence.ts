import { SluiceError } from "@sluice/kernel";
import type postgres from "postgres";
import { connectClient } from "./client.ts";
import { toDatabaseError } from "./database-error.ts";
import { withDeadline } from "./deadline.ts";
import endStatement from "./sql/end-silent-backend.sql" with { type: "text" };
import lookStatement from "./sql/working-backends.sql" with { type: "text" };

/** How long a call may go unanswered before it is looked into. */
const silentMs = 4_000;
/** How long the server has to say over a new connection what it works on. */
const lookMs = 4_000;
/** A call whose answer is not being worked on has this long in all: the answer may be on its way, over a slow network. */
const patienceMs = 8_000;
/** The same through a pooler, where a call may also wait for a connection of the pooler's. */
const pooledPatienceMs = 12_000;
/** The same for the other calls of a process, once one of its connections was found silent. */
const hurriedMs = 1_000;

/** What a statement of the driver shows of itself, although its types do not: who was asked, and for what. */
export interface Asked {
  /** The connection that it was written to; null until it is. */
  readonly state?: { readonly pid: number | null } | null;
  /** Its text, as the server knows it. */
  readonly string?: string;
}

/** How long a call may take. */
export interface CallLimits {
  /** While the server works on it; then it fails with DATABASE_TIMEOUT. */
  readonly deadlineMs: number;
  /** Whether nobody sends it any more, if it was not yet. */
  readonly isGivenUp?: () => boolean;
}

/** What the server works on at the moment; undefined when it was not to be reached. */
type Work = ((asked: Asked) => boolean) | undefined;

/**
 * Tells a call that takes long from one that is never answered, for all connections of a process to a database.
 *
 * What is not answered for four seconds is looked into: another connection asks the server whether it works on that. As long as it does, the call
 * waits until its own deadline: it may wait for a lock or a standby, and giving it up would only make a second one wait. Otherwise
 * it fails after eight seconds (twelve behind a pooler) with DATABASE_TIMEOUT, and the server ends what stood at the other end, with its transaction and locks.
 * Whoever uses {@link onFound} hears of it, and every other call is looked into within a second: a network that lost one
 * connection has most likely lost others.
 */
export class Silence {
  readonly #url: string;
  readonly #applicationName: string;
  readonly #isPooled: boolean;
  readonly #patienceMs: number;
  readonly #hurry = new Set<() => void>();
  readonly #heed = new Set<() => void>();
  #looking: Promise<Work> | undefined;

  constructor(url: string, options: { readonly applicationName: string; readonly isPooled?: boolean }) {
    this.#url = url;
    this.#applicationName = options.applicationName;
    this.#isPooled = options.isPooled === true;
    this.#patienceMs = this.#isPooled ? pooledPatienceMs : patienceMs;
  }

  /** Whether this is the way that it asks. */
  isOf(url: string): boolean {
    return url === this.#url;
  }

  /** Calls back whenever a connection was found silent, until the result is called. */
  onFound(heed: () => void): () => void {
    this.#heed.add(heed);
    return () => {
      this.#heed.delete(heed);
    };
  }

  /**
   * The outcome of a call, or DATABASE_TIMEOUT when it has none in time. What happens to it afterwards is unknown: it may still take effect.
   *
   * @param what names the call in the error: `"reading topic signups"`
   */
  attend<Result>(work: PromiseLike<Result>, asked: Asked, what: string, limits: CallLimits): Promise<Result> {
    const { deadlineMs, isGivenUp = () => false } = limits;
    return new Promise<Result>((resolve, reject) => {
      const began = performance.now();
      let isOver = false;
      let doubted: "unreachable" | "idle" | undefined;
      let timer: ReturnType<typeof setTimeout>;
      const end = () => {
        isOver = true;
        clearTimeout(timer);
        this.#hurry.delete(hurry);
      };
      const fail = (error: SluiceError) => {
        end();
        reject(error);
      };
      const wait = (ms: number) => {
        clearTimeout(timer);
        const leftMs = began + deadlineMs - performance.now();
        timer = setTimeout(
          leftMs <= ms ? () => fail(tooLate(what, deadlineMs)) : look,
          Math.max(0, Math.min(ms, leftMs)),
        );
      };
      let isHurried = false;
      const hurry = () => {
        isHurried = true;
        wait(hurriedMs);
      };
      const look = () => {
        if (asked.state === undefined || asked.state === null) {
          if (isGivenUp()) fail(silent(what));
          else wait(hurriedMs);
          return;
        }
        if (doubted === "unreachable") {
          this.#found(fail, what);
          return;
        }
        const lookedAt = performance.now();
        this.#work().then((work) => {
          if (isOver) return;
          if (work?.(asked) === true) {
            doubted = undefined;
            isHurried = false;
            wait(silentMs);
          } else if (doubted === undefined && !isHurried) {
            doubted = work === undefined ? "unreachable" : "idle";
            wait(Math.max(hurriedMs, this.#patienceMs - silentMs - (performance.now() - lookedAt)));
          } else {
            const found = () => this.#found(fail, what);
            // Ended or out of reach: nobody hears it any more.
            this.#endBackend(asked).then(found, found);
          }
        });
      };
      this.#hurry.add(hurry);
      wait(silentMs);
      work.then(
        (value) => {
          end();
          resolve(value);
        },
        (error: unknown) => {
          end();
          reject(error);
        },
      );
    });
  }

  #found(fail: (error: SluiceError) => void, what: string): void {
    // To be heard of before those who asked begin anew.
    for (const heed of [...this.#heed]) heed();
    fail(silent(what));
    for (const hurry of [...this.#hurry]) hurry();
  }

  /** Asks once for all who want to know at the same time. */
  #work(): Promise<Work> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #look(): Promise<Work> {
    try {
      const rows = await this.#ask<{ pid: number; query: string; is_long: boolean }>(lookStatement, [silentMs / 2]);
      if (!this.#isPooled) {
        const working = new Set(rows.map(({ pid }) => pid));
        return ({ state }) => working.has(state?.pid ?? 0);
      }
      // A pooler makes up the number that the client knows. The server keeps the beginning of a long text only.
      return ({ string = "" }) => rows.some((row) => row.is_long && row.query !== "" && string.startsWith(row.query));
    } catch (error) {
      // A server that says why it cannot tell, such as that it has no connection left, is there: whoever waits goes on waiting.
      return toDatabaseError(error).sqlState === undefined ? undefined : () => true;
    }
  }

  /** Ends what stands at the other end of a silent connection, because others may wait for what it holds. */
  async #endBackend({ state }: Asked): Promise<void> {
    if (!this.#isPooled) await this.#ask(endStatement, [state?.pid ?? 0]);
  }

  async #ask<Row extends object>(statement: string, parameters: (number | string)[]): Promise<Row[]> {
    const sql = connectClient(this.#url, {
      max: 1,
      prepare: false,
      connect_timeout: lookMs / 1_000,
      connection: { application_name: this.#applicationName },
    });
    try {
      const rows: PromiseLike<Row[]> = sql.unsafe<Row[]>(statement, parameters) as postgres.PendingQuery<Row[]>;
      return await withDeadline(rows, lookMs, "looking what the server works on");
    } finally {
      void sql.end({ timeout: 1 });
    }
  }
}

function tooLate(what: string, deadlineMs: number): SluiceError {
  return new SluiceError(
    "DATABASE_TIMEOUT",
    `${what}: the database did not answer within ${deadlineMs} ms; whether it took effect is unknown`,
  );
}

function silent(what: string): SluiceError {
  return new SluiceError(
    "DATABASE_TIMEOUT",
    `${what}: the connection fell silent and is given up; whether it took effect is unknown`,
  );
}
