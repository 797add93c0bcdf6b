import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Logger } from "sluice";
import { StartError } from "../start-error.ts";

/** The environment of a process, besides that of this one. */
export type Variables = Readonly<Record<string, string>>;

/** What {@link keepProcesses} runs. */
export interface ProcessesOptions {
  readonly main: URL;
  /** Of a program that answers over HTTP: the name that its `runMain` has. It gets loopback and any free port. */
  readonly name?: string;
  readonly logger: Logger;
}

/** Processes of one program that work beside this one: as many as were asked for. */
export interface Processes {
  /** What was asked for; one that ends by itself is started again. */
  readonly count: number;
  /** Of those that are alive, the oldest first. */
  readonly ids: readonly number[];
  /** Where the one answers that said so last; that of before while it is started again. Empty for programs without a name. */
  readonly url: string;
  /**
   * Starts or drains as many as it takes, and replaces all when they are to have other variables. Resolves when those that had to
   * go are gone, and those that have a name answer.
   *
   * Fails with {@link StartError} when one ends before it has an address; what was wrong, it has said itself.
   */
  set(count: number, variables?: Variables): Promise<void>;
  /** Ends the newest one as a crash would, with SIGKILL, and says which it was. It is started again. */
  kill(): number | undefined;
  /** Drains all. */
  close(): Promise<void>;
}

interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<void>;
  /** Its address; empty at once for a program without a name. */
  readonly url: Promise<string>;
  isWanted: boolean;
}

/**
 * Keeps processes of a program. They get STOP_WITH_STDIN=1 and must end with their standard input, which closes however this process
 * ends; SIGTERM drains them. What they print to standard error is printed here.
 */
export function keepProcesses(options: ProcessesOptions): Processes {
  const running = new Set<Running>();
  let [count, variables, failures, url]: [number, Variables, number, string] = [0, {}, 0, ""];
  let timer: ReturnType<typeof setTimeout> | undefined;

  const start = () => {
    const startedAt = performance.now();
    const one = launch(options, variables);
    running.add(one);
    one.url.then(
      (its) => {
        url = its;
      },
      () => undefined, // Whoever waits for it is told; the next one is started below.
    );
    void one.ended.then(() => {
      running.delete(one);
      if (!one.isWanted) return;
      failures = performance.now() - startedAt > 10_000 ? 0 : failures + 1;
      const fields = { program: fileURLToPath(options.main), process: one.child.pid };
      options.logger.log("warn", "a process has ended and is started again", fields);
      clearTimeout(timer);
      timer = setTimeout(fill, Math.min(30_000, 200 * 2 ** failures));
    });
  };
  const fill = () => {
    while (running.size < count) start();
  };
  const set = async (wanted: number, wantedVariables: Variables = {}) => {
    const isOther = JSON.stringify(wantedVariables) !== JSON.stringify(variables);
    [count, variables] = [wanted, wantedVariables];
    const leaving = isOther ? [...running] : [...running].slice(count);
    for (const one of leaving) {
      one.isWanted = false;
      one.child.kill("SIGTERM");
    }
    await Promise.all(leaving.map((one) => one.ended));
    fill();
    await Promise.all([...running].map((one) => one.url));
  };
  return {
    get count() {
      return count;
    },
    get ids() {
      return [...running].flatMap(({ child }) => (child.pid === undefined ? [] : [child.pid]));
    },
    get url() {
      return url;
    },
    set,
    kill() {
      const newest = [...running].at(-1);
      newest?.child.kill("SIGKILL");
      return newest?.child.pid;
    },
    async close() {
      clearTimeout(timer);
      await set(0, variables);
    },
  };
}

function launch({ main, name }: ProcessesOptions, variables: Variables): Running {
  const address = name === undefined ? {} : { HOST: "127.0.0.1", PORT: "0" };
  const child = spawn(process.execPath, [fileURLToPath(main)], {
    env: { ...process.env, ...variables, ...address, STOP_WITH_STDIN: "1" },
    stdio: ["pipe", name === undefined ? "ignore" : "pipe", "inherit"],
    // A group of its own: Ctrl-C reaches it once, from here.
    detached: process.platform !== "win32",
  });
  const { promise: url, resolve, reject } = Promise.withResolvers<string>();
  if (child.stdout === null) resolve("");
  else {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const found = new RegExp(`^ {2}${name} +(http:\\S+)/$`).exec(line)?.[1];
      if (found !== undefined) resolve(found);
    });
  }
  const ended = new Promise<void>((settle) => child.once("close", () => settle()).once("error", () => settle()));
  void ended.then(() => reject(new StartError(`${name} did not start (it ended with ${child.exitCode})`, 69)));
  return { child, ended, url, isWanted: true };
}
