import { createHash, randomBytes } from "node:crypto";
import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { type Account, canEnter, unprivilegedAccount } from "./embedded-account.ts";
import type { Binaries } from "./embedded-binaries.ts";
import { embeddedError, folderError, programError } from "./embedded-failure.ts";
import { runProgram } from "./embedded-program.ts";

/**
 * The data folder, made and owned by the account. Inside:
 * `cluster/data` (what initdb makes), `cluster/password`, `port`, `logs/`, `lock`, `holders` (a named pipe).
 */
export interface Folder {
  readonly path: string;
  readonly account: Account | undefined;
  /** What Postgres calls PGDATA. */
  readonly cluster: string;
}

/** Where root's data goes when the folder it asked for cannot be reached by the user that Postgres runs as. */
const fallbackForRoot = "/var/lib/sluice";

/**
 * Makes the folder, or takes the one that is there.
 *
 * @throws EMBEDDED_FAILED when it cannot be written or holds something else
 */
export function openFolder(requested: string | undefined, onLog: (line: string) => void): Folder {
  const { SLUICE_DATA: configured } = process.env;
  const wanted = resolve(requested ?? (configured || join(".sluice", "postgres")));
  try {
    const account = unprivilegedAccount(wanted);
    const place = reachable(wanted, account, onLog);
    makeFolder(place, account);
    const path = realpathSync(place);
    // Root may do everything, and Deno's answer for root is not the kernel's.
    if (account === undefined) accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
    if (existsSync(join(path, "PG_VERSION"))) {
      throw embeddedError(`${path} is a data directory of another Postgres. Choose another folder.`);
    }
    return { path, account, cluster: join(path, "cluster", "data") };
  } catch (error) {
    throw folderError(wanted, error);
  }
}

function reachable(wanted: string, account: Account | undefined, onLog: (line: string) => void): string {
  // One that is there and empty becomes the account's own; one with something in it stays as it is.
  const isTaken = existsSync(wanted) && readdirSync(wanted).length > 0;
  if (account === undefined || canEnter(account, isTaken ? wanted : dirname(wanted))) return wanted;
  const hash = createHash("sha256").update(wanted).digest("hex").slice(0, 16);
  const fallback = join(fallbackForRoot, hash);
  onLog(`${wanted} cannot be reached by the user ${account.name}, whom Postgres runs as: the data is in ${fallback}`);
  return fallback;
}

function makeFolder(path: string, account: Account | undefined): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    if (account !== undefined && readdirSync(path).length === 0) makeOwn(path, account, 0o700);
    return;
  }
  const first = mkdirSync(path, { recursive: true, mode: 0o755 });
  if (account === undefined) {
    chmodSync(path, 0o700);
    return;
  }
  // Root's umask may have closed the folders in between to the account.
  for (let parent = dirname(path); first !== undefined && parent.length >= first.length; parent = dirname(parent)) {
    chmodSync(parent, 0o755);
  }
  makeOwn(path, account, 0o700);
}

/** Gives a file or folder to the account and sets its mode. */
export function makeOwn(path: string, account: Account | undefined, mode: number): void {
  chmodSync(path, mode);
  if (account !== undefined) chownSync(path, account.userId, account.groupId);
}

/**
 * Makes the cluster if there is none: in a folder beside it that is renamed at the end, so that an interrupted
 * attempt leaves nothing that looks like a cluster. Only to be called by the holder of the folder's lock.
 *
 * @throws EMBEDDED_FAILED when initdb fails, or the cluster was made by another major version
 */
export async function makeCluster(folder: Folder, binaries: Binaries, onLog: (line: string) => void): Promise<void> {
  const home = dirname(folder.cluster);
  if (existsSync(home)) return checkVersion(folder, binaries);
  const unfinished = join(folder.path, `cluster.unfinished-${process.pid}`);
  try {
    for (const name of readdirSync(folder.path)) {
      if (name.startsWith("cluster.unfinished-")) rmSync(join(folder.path, name), { recursive: true, force: true });
    }
    onLog(`making a database cluster in ${folder.path}`);
    await makeUnfinished(unfinished, folder, binaries);
    renameSync(unfinished, home);
  } catch (error) {
    // What is half made may be what has filled the disk.
    rmSync(unfinished, { recursive: true, force: true });
    throw folderError(folder.path, error);
  }
}

async function makeUnfinished(unfinished: string, folder: Folder, binaries: Binaries): Promise<void> {
  const { account } = folder;
  mkdirSync(unfinished, { mode: 0o700 });
  makeOwn(unfinished, account, 0o700);
  const password = join(unfinished, "password");
  writeFileSync(password, randomBytes(24).toString("base64url"), { mode: 0o600 });
  makeOwn(password, account, 0o600);
  await initialize(join(unfinished, "data"), password, folder, binaries);
}

function checkVersion(folder: Folder, binaries: Binaries): void {
  let version: string;
  try {
    version = readFileSync(join(folder.cluster, "PG_VERSION"), "utf8").trim();
  } catch (error) {
    throw embeddedError(`${folder.cluster} is no database cluster, or not this user's.`, error);
  }
  if (version === String(binaries.majorVersion)) return;
  throw embeddedError(
    `the data in ${folder.path} was made by Postgres ${version} and this is Postgres ${binaries.majorVersion}. ` +
      `Dump it with version ${version} and restore it, or choose another folder.`,
  );
}

async function initialize(cluster: string, password: string, folder: Folder, binaries: Binaries): Promise<void> {
  // The builtin provider sorts alike on every machine; it came with Postgres 17.
  const locale =
    binaries.majorVersion >= 17
      ? ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
      : ["--locale=C"];
  const run = { account: folder.account, folder: folder.path };
  const made = await runProgram(
    binaries.initdb,
    [
      "-D",
      cluster,
      "-U",
      "postgres",
      `--pwfile=${password}`,
      "--auth=scram-sha-256",
      "--encoding=UTF8",
      "--data-checksums",
      ...locale,
    ],
    run,
  );
  if (made.exitCode !== 0) throw programError("initdb", made.exitCode, made.output, folder.path);
  const created = await runProgram(binaries.postgres, ["--single", "-D", cluster, "postgres"], {
    ...run,
    input: "CREATE DATABASE sluice;\n",
  });
  // In single-user mode a statement that fails does not make the program fail.
  if (created.exitCode !== 0 || /\b(ERROR|FATAL|PANIC):/.test(created.output)) {
    throw programError("postgres", created.exitCode, created.output, folder.path);
  }
}

/** The superuser's password. @throws EMBEDDED_FAILED when this user may not read it */
export function readPassword(folder: Folder): string {
  try {
    return readFileSync(join(dirname(folder.cluster), "password"), "utf8").trim();
  } catch (error) {
    throw embeddedError(`the password in ${folder.path} cannot be read. The folder belongs to another user.`, error);
  }
}
