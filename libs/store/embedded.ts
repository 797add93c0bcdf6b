import { closeSync, constants, openSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { type Binaries, findBinaries } from "./embedded-binaries.ts";
import { embeddedError, errorCode, folderError } from "./embedded-failure.ts";
import { type Folder, makeCluster, openFolder, readPassword } from "./embedded-folder.ts";
import { takeLock } from "./embedded-lock.ts";
import { choosePort, isPortTaken, portTaken, rememberPort } from "./embedded-port.ts";
import { holdersPipe, type StartedServer, startError, startServer, stopServer } from "./embedded-server.ts";
import { disarmStaleStatus, runningServer, type ServerStatus } from "./embedded-status.ts";

/** How the embedded server is started. */
export interface EmbeddedOptions {
  /**
   * Where the data, the log and the password are. Default: `$SLUICE_DATA`, else `.sluice/postgres` below the current
   * folder. As root, a folder that the unprivileged user cannot reach is replaced by one below `/var/lib/sluice`, and
   * `onLog` is told.
   */
  readonly dataDirectory?: string;
  /** Default: the port of the last start if it is free, else any free one. */
  readonly port?: number;
  /** Settings of Postgres over the defaults, as in `postgres -c`. Without effect on a server that already runs. */
  readonly settings?: Readonly<Record<string, string>>;
  /** The `bin` folder of an installed Postgres (15 to 18). Default: the Postgres 18 that ships with Sluice. */
  readonly binariesDirectory?: string;
  /** Told in one line each what is worth knowing. Default: nobody is told. */
  readonly onLog?: (line: string) => void;
  /** Told when a server that this process started has ended without `stop()`: it may be started again. Default: nobody is told. */
  readonly onEnd?: () => void;
}

/** A running server, started by this process or joined. */
export interface EmbeddedServer {
  /** With user and password, for psql and every driver. The database is `sluice`; the user, `postgres`, may do everything. */
  readonly url: string;
  /** Where the data really is. */
  readonly dataDirectory: string;
  /** False: it already ran, and this process joined it. */
  readonly started: boolean;
  /**
   * Stops a server that this process started, and waits for its end; leaves one that was joined.
   * Calling it again gives the same promise. @throws EMBEDDED_FAILED when it does not stop
   */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

const lockDeadlineMs = 120_000;
const orphanDeadlineMs = 15_000;

/**
 * A real Postgres 18 on 127.0.0.1 over a data folder: started, or joined if one runs there already.
 *
 * The server ends with the process that started it, however that process ends; processes that joined it and still live
 * keep it up. What was committed survives all of that.
 *
 * @throws EMBEDDED_FAILED when it cannot run; the message says why
 * @example
 * await using server = await startEmbedded({ dataDirectory: "data" });
 * console.log(`psql ${server.url}`);
 */
export async function startEmbedded(options: EmbeddedOptions = {}): Promise<EmbeddedServer> {
  const onLog = options.onLog ?? (() => undefined);
  const folder = openFolder(options.dataDirectory, onLog);
  const deadline = performance.now() + lockDeadlineMs;
  for (;;) {
    const running = runningServer(folder);
    if (running?.state === "ready") {
      const joined = await join(folder, running, options.port);
      if (joined !== undefined) return joined;
    } else if (running === undefined) {
      const started = await tryToStart(folder, options, onLog);
      if (started !== undefined) return started;
    }
    if (performance.now() > deadline) {
      throw embeddedError(`another process has been starting or stopping it in ${folder.path} for too long.`);
    }
    await wait(50);
  }
}

/** Undefined: somebody else holds the lock, or was faster. */
async function tryToStart(
  folder: Folder,
  options: EmbeddedOptions,
  onLog: (line: string) => void,
): Promise<EmbeddedServer | undefined> {
  const lock = takeLock(folder);
  if (lock === undefined) return undefined;
  try {
    if (runningServer(folder) !== undefined) return undefined;
    const binaries = await findBinaries({
      directory: options.binariesDirectory,
      account: folder.account,
      copyInto: folder.path,
      onLog,
    });
    await makeCluster(folder, binaries, onLog);
    return await start(folder, binaries, options, onLog);
  } catch (error) {
    throw folderError(folder.path, error);
  } finally {
    lock.release();
  }
}

async function start(
  folder: Folder,
  binaries: Binaries,
  options: EmbeddedOptions,
  onLog: (line: string) => void,
): Promise<EmbeddedServer | undefined> {
  const deadline = performance.now() + orphanDeadlineMs;
  for (;;) {
    const afterCrash = disarmStaleStatus(folder);
    const port = await choosePort(folder, options.port);
    const result = await startServer(folder, binaries, port, options.settings ?? {}, onLog);
    if (result.ready) {
      rememberPort(folder, port);
      return startedServer(folder, result.server, port, { onLog, onEnd: options.onEnd });
    }
    if (runningServer(folder) !== undefined) return undefined;
    // Somebody may have taken the port between the look and the start. Children of a killed server need a moment
    // to notice, and Postgres refuses to start beside them.
    const portLost = await isPortTaken(port);
    if (portLost && options.port !== undefined) throw portTaken(port);
    if (!(portLost || afterCrash) || performance.now() > deadline) throw startError(folder, result);
    await wait(100);
  }
}

function startedServer(
  folder: Folder,
  server: StartedServer,
  port: number,
  { onLog, onEnd }: { readonly onLog: (line: string) => void; readonly onEnd: (() => void) | undefined },
): EmbeddedServer {
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= stopServer(folder, server);
    return stopped;
  };
  // Neither the child nor its pipe keeps this process from ending.
  server.watchdog.unref();
  const pipe: unknown = server.watchdog.stdin;
  if (hasUnref(pipe)) pipe.unref();
  server.ended.then(
    (exitCode) => {
      if (stopped !== undefined) return;
      onLog(`Postgres has ended by itself with code ${exitCode}; its log is ${server.logFile}`);
      onEnd?.();
    },
    (error: unknown) => onLog(String(error)),
  );
  return { ...describe(folder, port), started: true, stop, [Symbol.asyncDispose]: stop };
}

function hasUnref(value: unknown): value is { unref(): void } {
  return typeof value === "object" && value !== null && "unref" in value && typeof value.unref === "function";
}

/** Undefined: it is going down. */
async function join(
  folder: Folder,
  running: ServerStatus,
  port: number | undefined,
): Promise<EmbeddedServer | undefined> {
  if (port !== undefined && port !== running.port) {
    throw embeddedError(`it already runs over ${folder.path} on port ${running.port}, and port ${port} was asked for.`);
  }
  const description = describe(folder, running.port);
  let hold = holdOpen(folder);
  if (hold === undefined) {
    // No watchdog reads the pipe: the server is about to stop, or it has outlived a watchdog that was killed.
    await wait(500);
    if (runningServer(folder)?.state !== "ready") return undefined;
  }
  const stop = () => {
    if (hold !== undefined) closeSync(hold);
    hold = undefined;
    return Promise.resolve();
  };
  return { ...description, started: false, stop, [Symbol.asyncDispose]: stop };
}

/** Opens the named pipe whose writers keep the server up; undefined if nobody reads it. */
function holdOpen(folder: Folder): number | undefined {
  try {
    return openSync(holdersPipe(folder), constants.O_WRONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (["ENXIO", "ENOENT"].includes(errorCode(error) ?? "")) return undefined;
    throw folderError(folder.path, error);
  }
}

function describe(folder: Folder, port: number): { url: string; dataDirectory: string } {
  return {
    url: `postgres://postgres:${readPassword(folder)}@127.0.0.1:${port}/sluice`,
    dataDirectory: folder.path,
  };
}
