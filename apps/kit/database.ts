import { readFileSync } from "node:fs";
import { drizzle } from "drizzle-orm/postgres-js";
import postgres from "postgres";
import { connect, guardTransactions, type Logger } from "sluice";

/** An app's own door to Postgres: typed queries in `orm`, and plain SQL for what Sluice's views show. */
export interface Database {
  readonly orm: ReturnType<typeof drizzle>;
  /**
   * Times arrive as text and JSON leaves as text (`${JSON.stringify(it)}::text::jsonb`): drizzle, on the same connections,
   * converts them itself.
   */
  readonly sql: postgres.Sql;
  /** Whether another process of this app is connected to the same database. */
  isShared(): Promise<boolean>;
  /** Waits up to five seconds for queries under way. */
  close(): Promise<void>;
}

/** How {@link openDatabase} opens it. */
export interface DatabaseOptions {
  readonly url: string;
  /** The app's name. */
  readonly name: string;
  /** The app's own tables: a file of statements that may all be repeated. Default: it has none. */
  readonly schema?: URL;
  /** At most; default 10. */
  readonly connections?: number;
  readonly logger: Logger;
}

/**
 * Brings Sluice's schema, then the kit's tables and the app's own up to date, and opens the pool; each of its queries is
 * bounded to 10 s. The tables are made in one transaction, under an advisory lock, so that processes that start together
 * do not make the same object twice.
 *
 * Fails as `connect` of Sluice does, which says in one sentence what is wrong with a database.
 */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  await (await connect({ url: options.url, logger: options.logger })).close();
  const name = `${options.name} app ${crypto.randomUUID()}`;
  const client = postgres(options.url, {
    max: options.connections ?? 10,
    connect_timeout: 10,
    onnotice: () => undefined,
    connection: { application_name: name, statement_timeout: 10_000 },
  });
  // A connection that is cut in the middle of a transaction must not end the app.
  const sql = guardTransactions(client);
  try {
    const files = [new URL("./schema.sql", import.meta.url), ...(options.schema === undefined ? [] : [options.schema])];
    await sql.begin(async (transaction) => {
      await transaction`select pg_advisory_xact_lock(hashtextextended('apps/schema.sql', 0))`;
      for (const file of files) await transaction.unsafe(readFileSync(file, "utf8")).simple();
    });
  } catch (error) {
    await sql.end({ timeout: 0 });
    throw error;
  }
  return {
    orm: drizzle({ client: sql }),
    sql,
    async isShared() {
      const others = await sql`
        select from pg_stat_activity
        where datname = current_database() and application_name like ${`${options.name} app %`}
          and application_name <> ${name}`;
      return others.length > 0;
    },
    close: () => sql.end({ timeout: 5 }),
  };
}
