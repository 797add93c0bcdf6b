// Plain Node, no dependencies: this runs before anything is installed.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, constants, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of the project. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const modules = join(root, "node_modules");
const stampFile = join(modules, ".sluice-installed");
const isWindows = process.platform === "win32";

/** An end of the script whose message is all that the user needs. */
export class Refusal extends Error {}

/**
 * Installs the dependencies when they are missing or package-lock.json has changed since; otherwise does nothing and
 * needs no network.
 */
export function ensureInstalled() {
  const lockText = readFileSync(join(root, "package-lock.json"), "utf8");
  const stamp = createHash("sha256").update(lockText).digest("hex");
  if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) return;
  if (!matchesLock(JSON.parse(lockText))) {
    console.log(`Installing dependencies (${existsSync(modules) ? "package-lock.json has changed" : "first start"}) …`);
    const startedAt = performance.now();
    installWithNpm();
    console.log(`Installed in ${Math.round((performance.now() - startedAt) / 1000)} s.`);
  }
  if (isWritable(modules)) writeFileSync(stampFile, stamp);
}

/**
 * npm install and not npm ci, which refuses a lock that lacks packages of other platforms, as one does that was written
 * against a registry without them. It keeps to every version and checksum that the lock names.
 */
function installWithNpm() {
  const { status, stderr } = runNpm("install", "--no-save");
  if (status !== 0) {
    throw new Refusal(`${stderr.trim()}\nnpm install failed with code ${status}. The first start needs the network.`);
  }
}

function runNpm(...command) {
  // Dependencies for development and for this platform, whatever NODE_ENV and the user's configuration leave out.
  const parameters = [...command, "--include=dev", "--include=optional", "--no-audit", "--no-fund", "--loglevel=error"];
  const { npm_execpath: npm } = process.env;
  const [file, ...first] = npm?.endsWith(".js") ? [process.execPath, npm] : [isWindows ? "npm.cmd" : "npm"];
  const result = spawnSync(file, [...first, ...parameters], {
    cwd: root,
    env: { ...process.env, npm_config_cache: npmCache() },
    stdio: ["ignore", "ignore", "pipe"],
    encoding: "utf8",
    shell: isWindows,
  });
  if (result.error) throw new Refusal(`npm could not be run: ${result.error.message}`);
  return result;
}

/** A user without a home, as in many containers, gets a cache in the temporary folder. */
function npmCache() {
  const usual = process.env.npm_config_cache || join(homedir(), ".npm");
  // With an empty HOME npm would make a folder named ~ here.
  const fallback = join(tmpdir(), `sluice-npm-${process.getuid?.() ?? "user"}`);
  if (!isAbsolute(usual)) return fallback;
  let existing = usual;
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing);
  return isWritable(existing) ? usual : fallback;
}

function isWritable(path) {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Whether what npm wrote down about node_modules is what the lock asks for: somebody ran npm by hand. */
function matchesLock(lock) {
  const installedFile = join(modules, ".package-lock.json");
  if (!existsSync(installedFile)) return false;
  const installed = JSON.parse(readFileSync(installedFile, "utf8")).packages ?? {};
  return Object.entries(lock.packages).every(([path, wanted]) => {
    if (!path.startsWith("node_modules/")) return true;
    const found = installed[path];
    if (found === undefined) return wanted.optional === true;
    return found.version === wanted.version && (wanted.link !== true || existsSync(join(root, path)));
  });
}

/** The path of a Bun that runs, whether or not install scripts were allowed to put it in place. */
export function findBun() {
  const name = isWindows ? "bun.exe" : "bun";
  return findWorking("Bun", "@oven/bun-…", [
    join(modules, "bun", "bin", "bun.exe"),
    ...packagesOf("@oven").map((folder) => join(folder, "bin", name)),
  ]);
}

/** The path of a Deno that runs, in the same way. */
export function findDeno() {
  const name = isWindows ? "deno.exe" : "deno";
  return findWorking("Deno", "@deno/…", [
    join(modules, "deno", name),
    ...packagesOf("@deno").map((folder) => join(folder, name)),
  ]);
}

function packagesOf(scope) {
  const folder = join(modules, scope);
  return existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
}

function findWorking(name, platformPackage, candidates) {
  for (const candidate of candidates) {
    // Before the install script has run, a small text stands in for the program.
    if (!existsSync(candidate) || statSync(candidate).size < 1_000_000) continue;
    const result = spawnSync(candidate, ["--version"], { encoding: "utf8" });
    if (result.status === 0 && /\d+\.\d+\.\d+/.test(result.stdout)) return candidate;
  }
  throw new Refusal(
    `${name} does not run here: npm has left out the optional package ${platformPackage} for ${process.platform} ${process.arch}. ` +
      "Remove node_modules and start again without omit=optional in npm's configuration.",
  );
}

// Looked up before anything is started: what is gone by then would be taken for what was always above.
const firstParent = process.ppid;
const firstNpm = npmAbove(firstParent);

/**
 * Calls the handler for SIGINT, SIGTERM and SIGHUP; what a terminal and npm both deliver counts once. Under npm also when npm has
 * ended: by a signal, of which it tells only the shell between, or killed, of which nobody is told.
 */
export function onStopSignal(handler) {
  let lastMs = Number.NEGATIVE_INFINITY;
  const stop = (signal) => {
    const nowMs = performance.now();
    if (nowMs - lastMs < 1000) return;
    lastMs = nowMs;
    handler(signal);
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => stop(signal));
  if (process.env.npm_lifecycle_event === undefined) return;
  const watch = setInterval(() => {
    if (process.ppid === firstParent && npmAbove(firstParent) === firstNpm) return;
    clearInterval(watch);
    // Whoever asked before does not ask for haste by going.
    if (lastMs === Number.NEGATIVE_INFINITY) stop("SIGTERM");
  }, 250);
  watch.unref();
}

/**
 * The npm above the shell in which it runs scripts, where the system tells (/proc). Undefined when there is no shell between: what is
 * above npm then, a terminal's shell perhaps, may end without ending this.
 */
function npmAbove(parent) {
  try {
    const [, name, above] = /\((.*)\) \S (\d+)/s.exec(readFileSync(`/proc/${parent}/stat`, "utf8")) ?? [];
    return /^(ba|da|a|k|z|)sh$/.test(name) && Number(above) > 1 ? Number(above) : undefined;
  } catch {
    // It has just ended, or there is no /proc.
    return undefined;
  }
}

/** Runs the script's main function: a refusal is printed without a stack, and everything else is a bug with one. */
export async function run(main) {
  try {
    process.exitCode = await main();
  } catch (error) {
    console.error(error instanceof Refusal ? error.message : error);
    process.exitCode = 1;
  }
}
