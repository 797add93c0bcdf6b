import { SluiceError } from "@sluice/kernel";
import type postgres from "postgres";

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

/**
 * The client, with transactions that refuse statements once their connection is gone.
 *
 * postgres.js 3.4 writes a statement of such a transaction to a socket that is no more, and throws where nobody can catch
 * it: a lost connection in the middle of a transaction would end the process.
 *
 * @param onBegin hears of each transaction right before it is handed out, in the same turn
 */
export function guardTransactions(
  sql: postgres.Sql,
  onBegin?: (transaction: GuardedTransaction) => void,
): postgres.Sql {
  const begin = (...parameters: unknown[]) => {
    const work = parameters.pop() as (tx: postgres.TransactionSql) => unknown;
    const connection = { isGone: false, isTakenBack: false };
    const whole = Reflect.apply(sql.begin, sql, [
      ...parameters,
      (tx: postgres.TransactionSql) => {
        const own = {
          get isGone() {
            return connection.isGone;
          },
          isTakenBack: false,
        };
        onBegin?.({
          sql: guard(tx, own),
          takeBack() {
            connection.isTakenBack = true;
          },
        });
        return work(guard(tx, connection));
      },
    ]) as Promise<unknown>;
    // It settles when the transaction ends, and also at once when the connection closes.
    return whole.finally(() => {
      connection.isGone = true;
    });
  };
  return new Proxy(sql, { get: (target, name) => (name === "begin" ? begin : Reflect.get(target, name)) });
}

function guard(
  tx: postgres.TransactionSql,
  connection: { readonly isGone: boolean; readonly isTakenBack: boolean },
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
    return Reflect.apply(tx.unsafe, tx, parameters);
  };
  return new Proxy(tx, {
    apply(target, self, parameters) {
      check();
      return Reflect.apply(target as unknown as (...all: unknown[]) => unknown, self, parameters);
    },
    get(target, name) {
      if (name === "unsafe") return unsafe;
      if (name === "savepoint") return savepoint;
      return Reflect.get(target, name);
    },
  });
}
