import { SluiceError } from "@sluice/kernel";
import type postgres from "postgres";

/**
 * The client, with transactions that refuse statements once their connection is gone.
 *
 * postgres.js 3.4 writes a statement of such a transaction to a socket that is no more, and throws where nobody can catch
 * it: a lost connection in the middle of a transaction would end the process.
 */
export function guardTransactions(sql: postgres.Sql): postgres.Sql {
  const begin = (...parameters: unknown[]) => {
    const work = parameters.pop() as (tx: postgres.TransactionSql) => unknown;
    const connection = { isGone: false };
    const whole = Reflect.apply(sql.begin, sql, [
      ...parameters,
      (tx: postgres.TransactionSql) => work(guard(tx, connection)),
    ]) as Promise<unknown>;
    // It settles when the transaction ends, and also at once when the connection closes.
    return whole.finally(() => {
      connection.isGone = true;
    });
  };
  return new Proxy(sql, { get: (target, name) => (name === "begin" ? begin : Reflect.get(target, name)) });
}

function guard(tx: postgres.TransactionSql, connection: { readonly isGone: boolean }): postgres.TransactionSql {
  const check = () => {
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
          if (!connection.isGone) throw error;
          // Told here: the driver would write a ROLLBACK TO for it first.
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
