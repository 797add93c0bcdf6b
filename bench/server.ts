import { join } from "node:path";
import { temporaryFolder } from "@sluice/testkit";
import postgres from "postgres";
import { startEmbedded } from "sluice/embedded";

/** A server to measure on, and a database of its own there. */
export interface BenchServer {
  readonly url: string;
  /** A client for the floors; as many connections as callers need. */
  readonly sql: postgres.Sql;
  readonly version: string;
  readonly hasLz4: boolean;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * The server at `given`, in a new database that is dropped afterwards; without it a fresh embedded one. Refuses to
 * measure a server that does not sync before it answers.
 *
 * @param suffix of the database's name, for a second one
 */
export async function openBenchServer(given: string | undefined, suffix = ""): Promise<BenchServer> {
  const folder = given === undefined ? temporaryFolder("bench") : undefined;
  const embedded = folder && (await startEmbedded({ dataDirectory: join(folder.path, "postgres") }));
  const adminUrl = given ?? embedded?.url ?? "";
  const admin = postgres(adminUrl, { max: 1, onnotice: () => undefined });
  const name = `sluice_bench_${process.pid}${suffix}`;
  const [settings] = await admin<{ version: string; fsync: string; commit: string; lz4: boolean }[]>`
    select current_setting('server_version') as version, current_setting('fsync') as fsync,
      current_setting('synchronous_commit') as commit,
      exists (select from pg_settings where name = 'default_toast_compression' and 'lz4' = any(enumvals)) as lz4`;
  if (settings?.fsync !== "on" || settings.commit !== "on") {
    throw new Error("this server has fsync or synchronous_commit off: what it would show is not worth having");
  }
  await admin.unsafe(`create database ${name}`);
  const url = new URL(adminUrl);
  url.pathname = `/${name}`;
  const sql = postgres(url.href, { max: 16, onnotice: () => undefined });
  await sql`create table floor_row (id bigint generated always as identity primary key, value jsonb not null)`;
  return {
    url: url.href,
    sql,
    version: settings.version,
    hasLz4: settings.lz4,
    async [Symbol.asyncDispose]() {
      await sql.end();
      await admin.unsafe(`drop database ${name} with (force)`);
      await admin.end();
      await embedded?.stop();
      folder?.[Symbol.dispose]();
    },
  };
}
