import { setImmediate } from "node:timers/promises";
import { SluiceError } from "@sluice/kernel";
import type postgres from "postgres";
import type { Asked } from "./silence.ts";

/** A transaction that was handed out, for the one who handed it out. */
export interface GuardedTransaction {
  /** The transaction for the giver: it goes on to work after {@link takeBack}, as long as the connection lives. */
  readonly sql: postgres.TransactionSql;
  /**
   * Refuses statements of the one who got it with CLOSED from now on. The driver would run one that comes after the COMMIT
   * or ROLLBACK was sent, on the same connection and outside of any transaction.
   */
  takeBack(): void;
}

/** Bounds a call of a transaction, see {@link Silence}; it fails when the call is never answered. */
export type Attend = <Result>(work: PromiseLike<Result>, asked: Asked, what: string) => Promise<Result>;

/**
 * The client, with transactions that survive the end of their connection: `begin` rejects at once, and what is said to the transaction
 * afterwards is refused with DATABASE_UNREACHABLE.
 *
 * postgres.js 3.4 writes such a statement, and its own COMMIT or ROLLBACK when the function ends, to a socket that is no more, and throws
 * where nobody can catch it: a connection that is lost in the middle of a transaction would end the process. Everything but `begin` is the
 * client's own.
 *
 * With `attend`, a transaction whose connection fell silent fails, too, and so does its statement that was never answered.
 *
 * @param onBegin hears of each transaction right before it is handed out, in the same turn
 * @example
 * const db = drizzle({ client: guardTransactions(postgres(url)) })
 */
export function guardTransactions(
  sql: postgres.Sql,
  onBegin?: (transaction: GuardedTransaction) => void,
  attend?: Attend,
): postgres.Sql {
  const begin = (...parameters: unknown[]) => {
    const work = parameters.pop() as (tx: postgres.TransactionSql) => unknown;
    const connection = new TransactionConnection(attend);
    const handedOut = async (tx: postgres.TransactionSql) => {
      const own = {
        get isGone() {
          return connection.isGone;
        },
        isTakenBack: false,
        attended: connection.attended.bind(connection),
      };
      onBegin?.({
        sql: guard(tx, own),
        takeBack() {
          connection.isTakenBack = true;
        },
      });
      try {
        return await whileConnected(() => work(guard(tx, connection)), connection);
      } finally {
        connection.ends();
      }
    };
    // It settles when the transaction ends, and also at once when the connection closes.
    return connection.whole(beginWith(sql, parameters, handedOut, (query) => connection.attended(query)));
  };
  return new Proxy(sql, { get: (target, name) => (name === "begin" ? begin : Reflect.get(target, name)) });
}

/** Begins a transaction of the driver, which sends the BEGIN through the client's own `unsafe`, in this turn: only there is it to be seen. */
function beginWith(
  sql: postgres.Sql,
  parameters: readonly unknown[],
  work: (tx: postgres.TransactionSql) => unknown,
  attended: (query: unknown) => unknown,
): Promise<unknown> {
  const { unsafe } = sql;
  sql.unsafe = ((...all: unknown[]) => attended(Reflect.apply(unsafe, sql, all))) as typeof unsafe;
  try {
    return Reflect.apply(sql.begin, sql, [...parameters, work]) as Promise<unknown>;
  } finally {
    sql.unsafe = unsafe;
  }
}

/** What is known of a transaction's connection. */
class TransactionConnection {
  isGone = false;
  isTakenBack = false;
  readonly #attend: Attend | undefined;
  readonly #ending = Promise.withResolvers<void>();
  readonly #silent = Promise.withResolvers<never>();
  #begin: Asked | undefined;

  constructor(attend: Attend | undefined) {
    this.#attend = attend;
  }

  /** The driver's query, which fails when the connection falls silent. It is sent, as ever, when somebody waits for it. */
  attended<Query>(query: Query): Query {
    const attend = this.#attend;
    if (attend === undefined || !(query instanceof Promise)) return query;
    this.#begin ??= query as Asked;
    const then = query.then.bind(query);
    let waiting: Promise<unknown> | undefined;
    const attendedThen = (...both: Parameters<typeof then>) => {
      waiting ??= attend({ then }, query as Asked, "a statement of a transaction").catch((error: unknown) => {
        if (error instanceof SluiceError) this.#silent.reject(error);
        throw error;
      });
      return waiting.then(...both);
    };
    Reflect.set(query, "then", attendedThen);
    return query;
  }

  /** The work is over, and the COMMIT or ROLLBACK is on its way. */
  ends(): void {
    this.#ending.resolve();
  }

  /** The transaction as a whole: fails as soon as the connection is gone. */
  whole(begun: Promise<unknown>): Promise<unknown> {
    const attend = this.#attend;
    const bounded = attend === undefined ? begun : Promise.race([begun, this.#silent.promise]);
    if (attend !== undefined) {
      const end = () => attend(begun, { state: this.#begin?.state ?? null, string: "commit" }, "ending a transaction");
      // A transaction that fails says so itself.
      this.#ending.promise.then(end).catch((error: unknown) => this.#silent.reject(error));
      this.#silent.promise.catch(() => undefined);
      begun.catch(() => undefined);
    }
    return bounded.finally(() => {
      this.isGone = true;
    });
  }
}

/**
 * What a transaction's function gives. Where the connection is gone it never settles: the driver would end the transaction on it, and
 * has rejected `begin` already.
 */
async function whileConnected(work: () => unknown, connection: { readonly isGone: boolean }): Promise<unknown> {
  try {
    const result = work();
    const settled = await (Array.isArray(result) ? Promise.all(result) : result);
    if (!connection.isGone) return settled;
  } catch (error) {
    // A connection that has just failed is closed a turn later.
    for (let turn = 0; turn < 2 && !connection.isGone; turn += 1) await setImmediate();
    if (!connection.isGone) throw error;
  }
  return await new Promise<never>(() => undefined);
}

function guard(
  tx: postgres.TransactionSql,
  connection: Pick<TransactionConnection, "isGone" | "isTakenBack" | "attended">,
): postgres.TransactionSql {
  const check = () => {
    if (connection.isTakenBack) {
      throw new SluiceError(
        "CLOSED",
        "the handler of this transaction has ended, or its time was over; the statement was not run",
      );
    }
    if (!connection.isGone) return;
    throw new SluiceError(
      "DATABASE_UNREACHABLE",
      "the connection of this transaction is gone, and so is what it wrote",
    );
  };
  const savepoint = (...parameters: unknown[]) => {
    check();
    const work = parameters.pop() as (inner: postgres.TransactionSql) => unknown;
    return new Promise((resolve, reject) => {
      const inner = async (tx: postgres.TransactionSql) => {
        try {
          return await work(guard(tx, connection));
        } catch (error) {
          if (!connection.isGone && !connection.isTakenBack) throw error;
          // Told here: the driver would write a ROLLBACK TO for it first, into whatever the connection does by then.
          reject(error);
          return await new Promise<never>(() => undefined);
        }
      };
      (Reflect.apply(tx.savepoint, tx, [...parameters, inner]) as Promise<unknown>).then(resolve, reject);
    });
  };
  const unsafe = (...parameters: unknown[]) => {
    check();
    return connection.attended(Reflect.apply(tx.unsafe, tx, parameters));
  };
  return new Proxy(tx, {
    apply(target, self, parameters) {
      check();
      return connection.attended(Reflect.apply(target as unknown as (...all: unknown[]) => unknown, self, parameters));
    },
    get(target, name) {
      if (name === "unsafe") return unsafe;
      if (name === "savepoint") return savepoint;
      return Reflect.get(target, name);
    },
  });
}
