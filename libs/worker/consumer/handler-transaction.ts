import { type Deferred, deferred, SluiceError, toError } from "@sluice/kernel";
import {
  type Attend,
  arrayLiteral,
  explain,
  type GuardedTransaction,
  guardTransactions,
  type Pool,
  type UserTransaction,
  withDeadline,
} from "@sluice/store";
import { type SQL, sql } from "drizzle-orm";
import { PgDialect } from "drizzle-orm/pg-core";
import { drizzle, type PostgresJsDatabase } from "drizzle-orm/postgres-js";

type HandlerDatabase = PostgresJsDatabase<Record<string, never>>;

/** Drizzle over a client of the pool. */
interface ClientDatabase {
  readonly client: Pool["sql"];
  readonly drizzle: HandlerDatabase;
}

/** The transaction that a handler writes in: drizzle's, over Sluice's own connections. */
export type DrizzleHandlerTransaction = Parameters<Parameters<HandlerDatabase["transaction"]>[0]>[0];

declare module "@sluice/contract" {
  interface HandlerTransaction extends DrizzleHandlerTransaction {}
}

/** How a handler's transaction ended: its message is done; it was done before; or somebody else owns the partition. */
export type MarkOutcome = "done" | "already" | "fenced";

const dialect = new PgDialect();

const openTimeoutMs = 30_000;
/** Long, because a commit may wait for a standby; giving up on it leaves its outcome to the next attempt's mark. */
const commitTimeoutMs = 60_000;

/**
 * Goes along with every statement after which a transaction holds what others wait for: a mark (the fence of a position, the row of a lease) and
 * a stage's appends (the partitions' locks). What is left to do follows at once; a transaction that idles there belongs to a process that is
 * frozen or cut off, and the server ends it. This needs nobody who looks, and no right to end the sessions of others: senders who wait for a
 * stage, members of a shared group who wait for a row, and whoever takes over without that right have no other guard. What it cannot cover is
 * at sluice.fence_position.
 */
export const commitSoon = sql`set_config('idle_in_transaction_session_timeout', '5000', true)`;

/** Opens transactions for handlers, over connections that nothing else uses: a handler that holds one may still send. */
export class HandlerTransactions {
  readonly #pool: Pool;
  /** Drizzle over the pool's client, made anew when the pool has replaced that. */
  #database: ClientDatabase | undefined;
  /** The transaction that is being handed out in this turn. */
  #begun: GuardedTransaction | undefined;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Begins one. Fails as any call to the database does. */
  async open(): Promise<OpenTransaction> {
    const opened = deferred<{ readonly tx: DrizzleHandlerTransaction; readonly guarded: GuardedTransaction }>();
    const finished = deferred<void>();
    const { client, drizzle } = this.#drizzle();
    const whole = drizzle.transaction(async (tx) => {
      const guarded = this.#begun;
      if (guarded === undefined) throw new SluiceError("INTERNAL", "a handler's transaction began without its guard");
      this.#begun = undefined;
      opened.resolve({ tx, guarded });
      await finished.promise;
    });
    // Whoever waits for either hears of a failure; a transaction that fails to begin never resolves `opened` by itself.
    whole.catch((error: unknown) => {
      this.#pool.heed(client, error);
      opened.reject(error);
    });
    try {
      const { tx, guarded } = await withDeadline(opened.promise, openTimeoutMs, "opening a handler's transaction");
      return new OpenTransaction(tx, guarded, whole, finished);
    } catch (error) {
      // Should it begin after all, nobody is there to use it.
      finished.resolve();
      throw explain("opening a handler's transaction", error);
    }
  }

  #drizzle(): ClientDatabase {
    const client = this.#pool.sql;
    if (this.#database?.client !== client) {
      const onBegin = (begun: GuardedTransaction) => {
        this.#begun = begun;
      };
      // A handler's statements may take as long as they do, as long as the server works on them.
      const attend: Attend = (work, asked, what) =>
        this.#pool.attend(client, work, asked, what, Number.POSITIVE_INFINITY);
      this.#database = { client, drizzle: drizzle({ client: guardTransactions(client, onBegin, attend) }) };
    }
    return this.#database;
  }
}

/** A handler's transaction under way. */
export class OpenTransaction {
  readonly tx: DrizzleHandlerTransaction;
  readonly #guarded: GuardedTransaction;
  readonly #whole: Promise<void>;
  readonly #finished: Deferred<void>;
  /** Whether the driver has ended it by itself: its connection is gone. */
  #isOver = false;

  constructor(
    tx: DrizzleHandlerTransaction,
    guarded: GuardedTransaction,
    whole: Promise<void>,
    finished: Deferred<void>,
  ) {
    this.tx = tx;
    this.#guarded = guarded;
    this.#whole = whole;
    this.#finished = finished;
    const over = () => {
      this.#isOver = true;
    };
    whole.then(over, over);
  }

  /** Takes it back from the handler, whose statements are refused from now on; for what is to be sent in it. */
  takeBack(): UserTransaction {
    this.#guarded.takeBack();
    return this.#guarded.sql;
  }

  /**
   * Marks the message as done and commits, or rolls back when it cannot be marked. When it throws, nothing is known to have
   * been committed; handing the message over again is safe, because the mark is there if it was.
   *
   * @param mark another call that marks it and gives the outcome
   */
  async commit(position: number, epoch: number, offset: number, mark?: SQL): Promise<MarkOutcome> {
    return await this.#commit(async () => {
      const call = mark ?? sql`sluice.mark_done(${position}, ${epoch}::bigint, ${offset}::bigint)`;
      const rows = await this.#execute<{ outcome: MarkOutcome }>(sql`select ${commitSoon}, ${call} as outcome`);
      return rows[0]?.outcome ?? "fenced";
    });
  }

  /** The same for several messages, ascending: all of them or none. `"already"` when one of them was done before. */
  async commitAll(position: number, epoch: number, offsets: readonly number[]): Promise<MarkOutcome> {
    return await this.#commit(async () => {
      const rows = await this.#execute<{ already: string | null }>(
        sql`select ${commitSoon}, sluice.mark_all_done(${position}, ${epoch}::bigint, ${arrayLiteral(offsets)}::text::bigint[])::text as already`,
      );
      const already = rows[0]?.already ?? null;
      if (already === null) return "fenced";
      return already === "{}" ? "done" : "already";
    });
  }

  /** Past the handler, from whom it may have been taken back. */
  async #execute<Row>(statement: SQL): Promise<readonly Row[]> {
    const { sql: text, params } = dialect.sqlToQuery(statement);
    return await this.#guarded.sql.unsafe<Row[]>(text, params as Parameters<GuardedTransaction["sql"]["unsafe"]>[1]);
  }

  async #commit(mark: () => Promise<MarkOutcome>): Promise<MarkOutcome> {
    if (this.#isOver)
      throw new SluiceError("DATABASE_UNREACHABLE", "the connection of a handler's transaction is gone");
    try {
      const outcome = await withDeadline(mark(), commitTimeoutMs, "marking a message as done");
      if (outcome !== "done") {
        await this.rollback();
        return outcome;
      }
      this.#finished.resolve();
      await withDeadline(this.#whole, commitTimeoutMs, "committing a handler's transaction");
      return "done";
    } catch (error) {
      await this.rollback();
      throw explain("committing a handler's transaction", error);
    }
  }

  /** Undoes everything. Never fails: a transaction that cannot be rolled back has lost its connection, and so its work. */
  async rollback(): Promise<void> {
    this.#finished.reject(new SluiceError("CLOSED", "rolled back"));
    await withDeadline(this.#whole, openTimeoutMs, "rolling back").then(
      () => undefined,
      (error: unknown) => toError(error),
    );
  }
}
