import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { Binaries } from "./embedded-binaries.ts";
import { embeddedError, errorCode, programError } from "./embedded-failure.ts";
import { type Folder, makeOwn } from "./embedded-folder.ts";
import { asAccount, programEnvironment } from "./embedded-program.ts";
import { runningServer } from "./embedded-status.ts";
import { watchdogScript } from "./embedded-watchdog.ts";

/** A server that this process started, with the watchdog that will outlive this process. */
export interface StartedServer {
  readonly watchdog: ChildProcess;
  /** Resolves when the watchdog has ended, and Postgres before it. */
  readonly ended: Promise<number | null>;
  readonly logFile: string;
}

/** How an attempt to start ended: the server is ready, or it ended with a code and left a log. */
export type StartResult =
  | { readonly ready: true; readonly server: StartedServer }
  | { readonly ready: false; readonly exitCode: number | null; readonly log: string; readonly logFile: string };

const keptLogs = 5;
const recoveryDeadlineMs = 600_000;
const fastShutdownDeadlineMs = 30_000;
const immediateShutdownDeadlineMs = 5_000;

/** The folder of the named pipe by which processes that joined keep the server up. */
export function holdersPipe(folder: Folder): string {
  return join(folder.path, "holders");
}

/** Starts the watchdog and Postgres under it, and waits until it is ready, through crash recovery if there is one. */
export async function startServer(
  folder: Folder,
  binaries: Binaries,
  port: number,
  settings: Readonly<Record<string, string>>,
  onLog: (line: string) => void,
): Promise<StartResult> {
  const logFile = nextLog(folder);
  const parameters = Object.entries({ ...defaultSettings, port: String(port), ...settings }).flatMap(
    ([name, value]) => ["-c", `${name}=${value}`],
  );
  const watchdog = spawn(
    "/bin/sh",
    [
      "-c",
      watchdogScript,
      "sluice-postgres",
      binaries.postgres,
      logFile,
      holdersPipe(folder),
      "-D",
      folder.cluster,
      ...parameters,
    ],
    {
      cwd: folder.path,
      env: programEnvironment(),
      // A session of its own: Ctrl-C reaches the terminal's whole process group.
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
      ...asAccount(folder.account),
    },
  );
  let hasEnded = false;
  const ended = new Promise<number | null>((resolve, reject) => {
    watchdog.once("error", (error) => reject(embeddedError("/bin/sh could not be run.", error)));
    watchdog.once("exit", (exitCode) => {
      hasEnded = true;
      resolve(exitCode);
    });
  });
  // The pipe breaks when the watchdog ends first; its exit code says why.
  watchdog.stdin?.on("error", (error) => onLog(`the watchdog of Postgres has ended (${errorCode(error)})`));
  const server = { watchdog, ended, logFile };
  const startedAt = performance.now();
  let nextNoteMs = 5_000;
  while (!hasEnded) {
    if (runningServer(folder)?.state === "ready") return { ready: true, server };
    const passedMs = performance.now() - startedAt;
    if (passedMs > recoveryDeadlineMs) {
      await stopServer(folder, server);
      throw embeddedError(`Postgres was not ready after ${recoveryDeadlineMs / 1000} seconds. Its log is ${logFile}`);
    }
    if (passedMs > nextNoteMs) {
      onLog(`Postgres is still starting up (recovery after a crash can take long); its log is ${logFile}`);
      nextNoteMs += 5_000;
    }
    await Promise.race([ended, wait(passedMs < 500 ? 10 : 50)]);
  }
  const exitCode = await ended;
  return { ready: false, exitCode, log: readLog(logFile), logFile };
}

/** Fast shutdown; after 30 seconds an immediate one, after 5 more the end by SIGKILL. Recovery repairs what is left. */
export async function stopServer(folder: Folder, server: StartedServer): Promise<void> {
  server.watchdog.ref();
  server.watchdog.stdin?.end("stop\n");
  for (const [signal, deadlineMs] of [
    [undefined, fastShutdownDeadlineMs],
    ["SIGQUIT", immediateShutdownDeadlineMs],
    ["SIGKILL", immediateShutdownDeadlineMs],
  ] as const) {
    if (signal !== undefined) signalServer(folder, signal);
    if (await endsWithin(server, deadlineMs)) return;
  }
  throw embeddedError(`Postgres did not stop. Its log is ${server.logFile}`);
}

async function endsWithin(server: StartedServer, deadlineMs: number): Promise<boolean> {
  const timer = new AbortController();
  const ended = server.ended.then(() => true);
  const late = wait(deadlineMs, false, { signal: timer.signal }).catch(() => false);
  const result = await Promise.race([ended, late]);
  timer.abort();
  return result;
}

function signalServer(folder: Folder, signal: "SIGQUIT" | "SIGKILL"): void {
  const running = runningServer(folder);
  if (running === undefined) return;
  try {
    process.kill(running.processId, signal);
  } catch (error) {
    if (errorCode(error) !== "ESRCH") throw error;
  }
}

/** The error for a start that failed, with the server's own words. */
export function startError(folder: Folder, result: Extract<StartResult, { ready: false }>): Error {
  const error = programError("Postgres", result.exitCode, result.log, folder.path);
  return embeddedError(`${error.message.replace(/^[^:]*: /, "")} Its log is ${result.logFile}`, error.cause);
}

const defaultSettings: Readonly<Record<string, string>> = {
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  max_connections: "100",
  shared_buffers: "128MB",
  // What a server with half a gibibyte of buffers has by itself: with 4 MiB, appends now and then waited for WAL to be written.
  wal_buffers: "16MB",
  wal_level: "replica",
  jit: "off",
  fsync: "on",
  synchronous_commit: "on",
  timezone: "UTC",
  log_timezone: "UTC",
  log_destination: "stderr",
  logging_collector: "off",
};

function nextLog(folder: Folder): string {
  const logs = join(folder.path, "logs");
  if (!existsSync(logs)) mkdirSync(logs, { mode: 0o700 });
  makeOwn(logs, folder.account, 0o700);
  const name = (age: number) => join(logs, age === 0 ? "postgres.log" : `postgres.${age}.log`);
  rmSync(name(keptLogs - 1), { force: true });
  for (let age = keptLogs - 2; age >= 0; age--) {
    if (existsSync(name(age))) renameSync(name(age), name(age + 1));
  }
  writeFileSync(name(0), "", { mode: 0o600 });
  makeOwn(name(0), folder.account, 0o600);
  return name(0);
}

function readLog(logFile: string): string {
  return readFileSync(logFile, "utf8").split("\n").slice(-40).join("\n");
}
