import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { pause, StartError, until } from "@sluice/app-kit";
import type { SampleApp } from "./apps.ts";

const startDeadlineMs = 60_000;

/** What every app is started with. */
export interface ChildOptions {
  readonly databaseUrl: string;
  /** The address to listen on. */
  readonly host: string;
  /** Aborted when the front stops. */
  readonly stop: AbortSignal;
}

/** A sample app as a process of its own, which is started again when it ends unasked. */
export interface Child {
  readonly app: SampleApp;
  /** Where it answers; undefined while it is being started again. */
  readonly url: string | undefined;
  /** Asks it to drain and waits for its end. */
  close(): Promise<void>;
}

/**
 * Runs a sample app. It leads a process group of its own, so that Ctrl-C reaches it once, from here; its standard input is a
 * pipe that closes however this process ends, and it ends with that.
 */
export function spawnApp(
  { main }: SampleApp,
  parameters: readonly string[],
  { databaseUrl, host }: ChildOptions,
  stdout: "pipe" | "inherit",
): { readonly process: ChildProcess; readonly ended: Promise<number> } {
  const child = spawn(process.execPath, [main, ...parameters], {
    env: { ...process.env, DATABASE_URL: databaseUrl, HOST: host, PORT: "0", STOP_WITH_STDIN: "1" },
    stdio: ["pipe", stdout, "inherit"],
    detached: process.platform !== "win32",
  });
  const ended = new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve(code ?? 137));
  });
  return { process: child, ended };
}

/**
 * Starts one and waits until it is healthy.
 *
 * Fails with {@link StartError} when it ends before that; what was wrong, it has said itself.
 */
export async function startChild(app: SampleApp, options: ChildOptions): Promise<Child> {
  const started = await startOnce(app, options);
  let [current, url]: [ReturnType<typeof spawnApp>, string | undefined] = [started.running, started.url];
  let isClosing = false;
  const keepUp = async () => {
    for (let pauseMs = 500; ; pauseMs = Math.min(pauseMs * 2, 30_000)) {
      await current.ended;
      url = undefined;
      if (isClosing || options.stop.aborted) return;
      process.stderr.write(`front: ${app.name} has ended and is started again\n`);
      await pause(pauseMs, options.stop);
      const again = await startOnce(app, options).catch(() => undefined);
      if (again !== undefined) [current, url] = [again.running, again.url];
    }
  };
  // Ends with the front's stop, which aborts its pause.
  const keeping = keepUp().catch(() => undefined);
  return {
    app,
    get url() {
      return url;
    },
    async close() {
      isClosing = true;
      current.process.kill("SIGTERM");
      await current.ended;
      await keeping;
    },
  };
}

async function startOnce(app: SampleApp, options: ChildOptions) {
  const running = spawnApp(app, [], options, "pipe");
  const announced = new Promise<string>((resolve) => {
    const { stdout } = running.process;
    if (stdout === null) throw new Error("the child's output is a pipe");
    createInterface({ input: stdout }).on("line", (line) => {
      const found = new RegExp(`^ {2}${app.name} +(http:\\S+)/$`).exec(line)?.[1];
      if (found !== undefined) resolve(found);
    });
  });
  const slow = AbortSignal.timeout(startDeadlineMs);
  const url = await Promise.race([
    announced,
    running.ended,
    pause(startDeadlineMs + 1_000, AbortSignal.any([options.stop, slow])),
  ]).catch(() => undefined);
  const isHealthy = async () => {
    const answer = await fetch(`${url}/health`).catch(() => undefined);
    return answer?.ok === true;
  };
  if (typeof url === "string" && (await until(isHealthy, startDeadlineMs, options.stop))) return { running, url };
  running.process.kill("SIGTERM");
  const code = await running.ended;
  throw new StartError(`${app.name} did not start (it ended with ${code})`, code === 0 ? 70 : code);
}
