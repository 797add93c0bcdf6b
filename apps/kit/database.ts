import { createHash } from "node:crypto";
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
  /** The app's own tables: a file of statements that may all be repeated, applied when it is new or has changed. Default: it has none. */
  readonly schema?: URL;
  /** At most; default 10. */
  readonly connections?: number;
  readonly logger: Logger;
}

/**
 * Brings Sluice's schema, then the kit's tables and the app's own up to date, and opens the pool; each of its queries is
 * bounded to 10 s. The tables are made in one transaction, under an advisory lock, so that processes that start together
 * do not make the same object twice; and only where their file has changed, for even an index that is there already is locked by asking
 * for it, and whoever starts would wait for those at work, or be ended as a deadlock with them.
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
    await sql.begin((transaction) => applySchemas(transaction, options.schema));
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

async function applySchemas(transaction: postgres.TransactionSql, own: URL | undefined): Promise<void> {
  const apply = (file: URL) => transaction.unsafe(readFileSync(file, "utf8")).simple();
  await transaction`select pg_advisory_xact_lock(hashtextextended('apps/schema.sql', 0))`;
  const [applied] = await transaction<
    { is_there: boolean }[]
  >`select to_regclass('sample.applied') is not null as is_there`;
  if (applied?.is_there !== true) await apply(new URL("./applied.sql", import.meta.url));
  for (const file of [new URL("./schema.sql", import.meta.url), ...(own === undefined ? [] : [own])]) {
    const name = file.pathname.split("/").slice(-2).join("/");
    const digest = createHash("sha256").update(readFileSync(file)).digest("hex");
    const changed = await transaction`
      insert into sample.applied as a (file, digest) values (${name}, ${digest})
      on conflict (file) do update set digest = excluded.digest where a.digest <> excluded.digest
      returning a.file`;
    if (changed.length > 0) await apply(file);
  }
}
