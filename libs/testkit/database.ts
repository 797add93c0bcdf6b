import { createHash, randomBytes } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { SluiceError } from "@sluice/kernel";
import { migrate, migrations } from "@sluice/store";
import postgres from "postgres";
import { testServer } from "./server.ts";

/** A database of one test's own. */
export interface TestDatabase {
  readonly url: string;
  readonly name: string;
  /** Drops it. @throws INTERNAL when somebody is still connected to it: a connection was leaked */
  [Symbol.asyncDispose](): Promise<void>;
}

/** What kind of database a test gets. */
export interface TestDatabaseOptions {
  /** Whether it has the schema of Sluice. Default: true; false gives an empty one. */
  readonly migrated?: boolean;
  /** How long connections may take to end at its end, in milliseconds. Default: 10,000; a busy machine takes its time. */
  readonly leakGraceMs?: number;
}

/** "testkit" cut to what fits: the key of the lock under which the template is made. */
const templateLockKey = "32759168952888180";
const defaultLeakGraceMs = 10_000;

/**
 * A fresh database, cloned from a template that is migrated once per server and set of migrations.
 *
 * @example
 * await using database = await testDatabase();
 * const sql = postgres(database.url);
 */
export async function testDatabase(options: TestDatabaseOptions = {}): Promise<TestDatabase> {
  const serverUrl = await testServer();
  const name = `sluice_test_${process.pid}_${randomBytes(6).toString("hex")}`;
  const template = (options.migrated ?? true) ? await migratedTemplate(serverUrl) : "template0";
  await asAdministrator(serverUrl, (sql) => sql`create database ${sql(name)} template ${sql(template)}`);
  let disposed: Promise<void> | undefined;
  return {
    url: urlOf(serverUrl, name),
    name,
    [Symbol.asyncDispose]() {
      disposed ??= dispose(serverUrl, name, options.leakGraceMs ?? defaultLeakGraceMs);
      return disposed;
    },
  };
}

const templates = new Map<string, Promise<string>>();

function migratedTemplate(serverUrl: string): Promise<string> {
  let template = templates.get(serverUrl);
  if (template === undefined) {
    template = makeTemplate(serverUrl);
    templates.set(serverUrl, template);
  }
  return template;
}

async function makeTemplate(serverUrl: string): Promise<string> {
  const hash = createHash("sha256").update(migrations.map((migration) => migration.hash).join());
  const name = `sluice_template_${hash.digest("hex").slice(0, 16)}`;
  await asAdministrator(serverUrl, async (sql) => {
    await sql`select pg_advisory_lock(${templateLockKey}::bigint)`;
    // The connection ends with this function, and the lock with it.
    const [made] = await sql`select from pg_database where datname = ${name} and datistemplate`;
    if (made !== undefined) return;
    await sql`drop database if exists ${sql(name)} with (force)`;
    await sql`create database ${sql(name)} template template0`;
    const inside = postgres(urlOf(serverUrl, name), { max: 1, onnotice: () => undefined });
    try {
      await migrate(inside);
    } finally {
      await inside.end();
    }
    // Set last: it says that the template is complete. Whoever connected to it would make cloning fail.
    await sql`alter database ${sql(name)} with is_template true allow_connections false`;
  });
  return name;
}

async function dispose(serverUrl: string, name: string, leakGraceMs: number): Promise<void> {
  const leaked = await asAdministrator(serverUrl, async (sql) => {
    const deadline = performance.now() + leakGraceMs;
    let sessions = await sessionsOf(sql, name);
    // A connection that was closed a moment ago may still be listed.
    while (sessions.length > 0 && performance.now() < deadline) {
      await wait(10);
      sessions = await sessionsOf(sql, name);
    }
    await sql`drop database ${sql(name)} with (force)`;
    return sessions;
  });
  if (leaked.length === 0) return;
  const list = leaked.map((session) => `  ${session.application}, ${session.state}: ${session.statement}`).join("\n");
  throw new SluiceError("INTERNAL", `The test left ${leaked.length} connections to its database open:\n${list}`);
}

interface Session {
  readonly application: string;
  readonly state: string;
  readonly statement: string;
}

function sessionsOf(sql: postgres.Sql, name: string): Promise<readonly Session[]> {
  return sql<Session[]>`
    select application_name as application, coalesce(state, 'unknown') as state, left(query, 200) as statement
    from pg_stat_activity where datname = ${name} and backend_type = 'client backend'`;
}

async function asAdministrator<Result>(
  serverUrl: string,
  work: (sql: postgres.Sql) => PromiseLike<Result>,
): Promise<Result> {
  const sql = postgres(serverUrl, { max: 1, onnotice: () => undefined });
  try {
    return await work(sql);
  } finally {
    await sql.end();
  }
}

function urlOf(serverUrl: string, name: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return url.href;
}
