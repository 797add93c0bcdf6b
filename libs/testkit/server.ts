import { join } from "node:path";
import { startEmbedded } from "@sluice/store/embedded";
import postgres from "postgres";

let server: Promise<string> | undefined;

/**
 * The URL of the server that tests make their databases on, with a user who may create them.
 *
 * It is `$SLUICE_TEST_SERVER` where that is set, as in a run of all tests. Otherwise an embedded one in `.sluice/test`
 * is started, or joined where another test process has started it, and stays up until the last of them ends.
 */
export function testServer(): Promise<string> {
  const { SLUICE_TEST_SERVER: given } = process.env;
  server ??= given ? Promise.resolve(given) : startOwn();
  return server;
}

async function startOwn(): Promise<string> {
  const dataDirectory = join(import.meta.dirname, "..", "..", ".sluice", "test");
  const { url, started } = await startEmbedded({ dataDirectory });
  if (started) await dropLeftOvers(url);
  return url;
}

/** A killed run leaves its databases behind. Nobody else uses a server that has just started. */
async function dropLeftOvers(url: string): Promise<void> {
  const sql = postgres(url, { max: 1 });
  try {
    const left = await sql<{ name: string }[]>`
      select datname as name from pg_database where datname like ${"sluice\\_test\\_%"}`;
    for (const { name } of left) await sql`drop database if exists ${sql(name)} with (force)`;
  } finally {
    await sql.end();
  }
}
