import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { StartError } from "../start-error.ts";
import { ownProcess, type Variables } from "./own-process.ts";

/** How long one may take to say its address before it is ended, and started again. */
const startDeadlineMs = 60_000;

/** What {@link keepProcesses} runs. */
export interface ProcessesOptions {
  readonly main: URL;
  /** Of a program that answers over HTTP: the name that its `runMain` has. It gets loopback, unless HOST says else, and a free port. */
  readonly name?: string;
  /** Told when one has ended unasked, before it is started again. */
  readonly onEnd: (id: number | undefined) => void;
}

/** Processes of one program that work beside this one: as many as were asked for. */
export interface Processes {
  /** What was asked for; one that ends by itself is started again, once there was one that answered. */
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
  readonly ended: Promise<unknown>;
  /** Its address; empty at once for a program without a name. */
  readonly url: Promise<string>;
  isWanted: boolean;
}

/**
 * Keeps processes of a program. They must end with their standard input, which closes however this process ends; SIGTERM drains
 * them. What they print to standard error is printed here. Where there is one, it comes back at the port that it had, for who looks at it.
 */
export function keepProcesses({ main, name, onEnd }: ProcessesOptions): Processes {
  const running = new Set<Running>();
  let [count, variables, failures, url]: [number, Variables, number, string] = [0, {}, 0, ""];
  let timer: ReturnType<typeof setTimeout> | undefined;

  const start = () => {
    const startedAt = performance.now();
    // Any port again, should the one of before be why it does not start.
    const port = count === 1 && failures < 3 && URL.canParse(url) ? new URL(url).port : "0";
    const one = launch(main, name, { HOST: "127.0.0.1", ...variables, PORT: port });
    running.add(one);
    one.url.then(
      (its) => {
        url = its;
      },
      () => undefined, // Whoever waits for it is told; the next one is started below.
    );
    void one.ended.then(() => {
      running.delete(one);
      // Who is told that the first of all did not start decides what becomes of that.
      if (!one.isWanted || (name !== undefined && url === "")) return;
      failures = performance.now() - startedAt > 10_000 ? 0 : failures + 1;
      onEnd(one.child.pid);
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
      // A second signal would cut short what the first one has begun.
      if (!one.isWanted) continue;
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

function launch(main: URL, name: string | undefined, variables: Variables): Running {
  const { child, ended } = ownProcess(main, { variables, output: name === undefined ? "ignore" : "pipe" });
  const { promise: url, resolve, reject } = Promise.withResolvers<string>();
  const overdue = name === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), startDeadlineMs);
  if (child.stdout === null) resolve("");
  else {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const found = new RegExp(`^ {2}${name} +(http:\\S+)/$`).exec(line)?.[1];
      if (found === undefined) return;
      clearTimeout(overdue);
      resolve(found);
    });
  }
  void ended.then((code) => {
    clearTimeout(overdue);
    reject(new StartError(`${name} did not start (it ended with ${code ?? "a signal"})`, code || 69));
  });
  return { child, ended, url, isWanted: true };
}
