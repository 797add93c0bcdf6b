import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { pause } from "../report/at-rate.ts";
import { StartError } from "../start-error.ts";

/** A program of the app that runs beside it and is started again when it dies. */
export interface KeptProcess {
  /** Where it answers; that of before, while it is being started again. */
  readonly url: string;
  /** How often it was started. */
  readonly starts: number;
  /** Ends it at once, as a crash would. */
  kill(): boolean;
  /** Lets it drain, and waits for its end. */
  close(): Promise<void>;
}

/** What {@link keepProcess} runs. */
export interface KeptProcessOptions {
  /** The name that its `runMain` has. */
  readonly name: string;
  readonly main: URL;
  /** Of its environment, besides that of this process. It gets loopback and any free port. */
  readonly variables: Readonly<Record<string, string>>;
}

/**
 * Starts a program whose main is `runMain`, and waits for its address. Its standard input is a pipe that closes however this process
 * ends, and it ends with that.
 *
 * Fails with {@link StartError} when it ends before; what was wrong, it has said itself.
 */
export async function keepProcess(options: KeptProcessOptions): Promise<KeptProcess> {
  const stop = new AbortController();
  let current = launch(options);
  let [url, starts] = [await current.url, 1];
  const keepUp = async () => {
    for (let pauseMs = 200; ; ) {
      await current.ended;
      await pause(pauseMs, stop.signal);
      current = launch(options);
      starts += 1;
      const again = await current.url.catch(() => undefined);
      // One that does not even start is left alone for longer and longer.
      pauseMs = again === undefined ? Math.min(pauseMs * 2, 10_000) : 200;
      url = again ?? url;
    }
  };
  // Ends with the stop, which aborts its pause.
  const keeping = keepUp().catch(() => undefined);
  return {
    get url() {
      return url;
    },
    get starts() {
      return starts;
    },
    kill: () => current.child.kill("SIGKILL"),
    async close() {
      stop.abort();
      current.child.stdin.end();
      await Promise.all([current.ended, keeping]);
    },
  };
}

function launch({ name, main, variables }: KeptProcessOptions) {
  const child = spawn(process.execPath, [fileURLToPath(main)], {
    env: { ...process.env, ...variables, HOST: "127.0.0.1", PORT: "0", STOP_WITH_STDIN: "1" },
    stdio: ["pipe", "pipe", "inherit"],
    // A process group of its own: Ctrl-C reaches it once, from here.
    detached: process.platform !== "win32",
  });
  const { promise: url, resolve, reject } = Promise.withResolvers<string>();
  createInterface({ input: child.stdout }).on("line", (line) => {
    const found = new RegExp(`^ {2}${name} +(http:\\S+)/$`).exec(line)?.[1];
    if (found !== undefined) resolve(found);
  });
  const ended = new Promise<unknown>((settle) => child.once("error", settle).once("close", settle));
  ended.then((why) => reject(new StartError(`${name} did not start (it ended with ${why})`, 69)));
  // Who does not want the address does not wait for it.
  url.catch(() => undefined);
  return { child, url, ended };
}
