import { type ChildProcess, spawn } from "node:child_process";
import { chownSync, existsSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import postgres from "postgres";
import { eventually } from "./eventually.ts";
import { temporaryFolder } from "./temporary-folder.ts";

/** Where Debian's package puts it. */
const program = "/usr/sbin/pgbouncer";
/** Who runs it when the tests are root, whom it refuses. */
const nobody = { name: "nobody", id: 65_534 };
const startTries = 3;

/** Why tests that need pgbouncer cannot run here; undefined where they can. */
export const pgbouncerMissing = existsSync(program)
  ? undefined
  : `there is no ${program}; Debian's package is called pgbouncer`;

/** How a {@link Pgbouncer} pools. */
export interface PgbouncerOptions {
  readonly mode: "session" | "transaction" | "statement";
  /** Server connections per database at most. Default 40. */
  readonly poolSize?: number;
  /**
   * Whether a server connection is closed once it was used: nothing of one client is ever left to the next, and none is open to a
   * database that is to be dropped. Default false.
   */
  readonly useOnce?: boolean;
  /** Whether server connections are handed out in turn, not the one that became free last. Default false. */
  readonly inTurn?: boolean;
}

/** A real pgbouncer in front of a server. */
export interface Pgbouncer {
  /** The same database by way of it. */
  readonly url: string;
  /** Ends it, and with it every connection through it. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts a pgbouncer in front of the server of a URL, for all of its databases. It ends with this process, however that ends.
 *
 * @example
 * await using database = await testDatabase();
 * await using pooler = await startPgbouncer(database.url, { mode: "transaction" });
 */
export async function startPgbouncer(serverUrl: string, options: PgbouncerOptions): Promise<Pgbouncer> {
  for (let tries = 1; ; tries += 1) {
    const started = await tryStart(serverUrl, options);
    if (typeof started !== "string") return started;
    // The free port may have been taken meanwhile.
    if (tries === startTries) throw new Error(`pgbouncer did not start:\n${started}`);
  }
}

/** What it said, when it did not start. */
async function tryStart(serverUrl: string, options: PgbouncerOptions): Promise<Pgbouncer | string> {
  const folder = temporaryFolder("pgbouncer");
  const port = await freePort();
  const file = join(folder.path, "pgbouncer.ini");
  writeFileSync(file, configuration(new URL(serverUrl), port, options), { mode: 0o600 });
  const asRoot = process.getuid?.() === 0;
  if (asRoot) for (const path of [folder.path, file]) chownSync(path, nobody.id, nobody.id);
  const command = [program, "-q", ...(asRoot ? ["-u", nobody.name] : []), file];
  // The shell holds a pipe from this process, and ends pgbouncer when that closes, even after a kill -9.
  const child = spawn(
    "sh",
    ["-c", 'exec 3<&0; "$@" & pooler=$!; (cat <&3 >/dev/null; kill -TERM $pooler) & wait $pooler', "sh", ...command],
    {
      stdio: ["pipe", "ignore", "pipe"],
    },
  );
  let said = "";
  child.stderr?.on("data", (piece: Buffer) => {
    said = (said + piece.toString()).slice(-10_000);
  });
  const end = async () => {
    child.stdin?.end();
    await ended(child);
    folder[Symbol.dispose]();
  };
  const url = new URL(serverUrl);
  url.hostname = "127.0.0.1";
  url.port = String(port);
  try {
    await eventually("pgbouncer answers", async () => child.exitCode !== null || (await answers(url.href)));
  } catch (error) {
    await end();
    throw new Error(`pgbouncer does not answer:\n${said}`, { cause: error });
  }
  if (child.exitCode === null) return { url: url.href, [Symbol.asyncDispose]: end };
  await end();
  return said;
}

function configuration(
  server: URL,
  port: number,
  { mode, poolSize = 40, useOnce = false, inTurn = false }: PgbouncerOptions,
): string {
  const quoted = (text: string) => `'${decodeURIComponent(text).replaceAll("'", "''")}'`;
  return [
    "[databases]",
    `* = host=${server.hostname} port=${server.port || 5432} user=${quoted(server.username)} password=${quoted(server.password)}`,
    "[pgbouncer]",
    "listen_addr = 127.0.0.1",
    `listen_port = ${port}`,
    "unix_socket_dir =",
    "auth_type = any",
    `pool_mode = ${mode}`,
    `default_pool_size = ${poolSize}`,
    "max_client_conn = 500",
    `server_round_robin = ${inTurn ? 1 : 0}`,
    ...(useOnce ? ["server_lifetime = 0"] : []),
    "",
  ].join("\n");
}

async function answers(url: string): Promise<boolean> {
  const sql = postgres(url, { max: 1, fetch_types: false, connect_timeout: 2 });
  try {
    await sql.unsafe("select 1");
    return true;
  } catch (error) {
    if ((error as { code?: unknown }).code === "ECONNREFUSED") return false;
    throw error;
  } finally {
    await sql.end({ timeout: 1 });
  }
}

async function ended(child: ChildProcess): Promise<void> {
  const over = new Promise<void>((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once("exit", () => resolve());
  });
  await Promise.race([
    over,
    wait(10_000, undefined, { ref: false }).then(() => {
      throw new Error("pgbouncer did not end within ten seconds");
    }),
  ]);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no free port");
  return address.port;
}
