import { type ChildProcess, spawn } from "node:child_process";
import type { Logger } from "sluice";

/** The environment of a process, besides that of this one. */
export type Variables = Readonly<Record<string, string>>;

/** Processes of one program that work beside this one: as many as were asked for. */
export interface Processes {
  /** What was asked for; one that ends by itself is started again. */
  readonly count: number;
  /** Of those that are alive, the oldest first. */
  readonly ids: readonly number[];
  /**
   * Starts or drains as many as it takes, and replaces all when they are to have other variables. Resolves when those that had to
   * go are gone.
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
  isWanted: boolean;
}

/**
 * Keeps processes of a program. They get STOP_WITH_STDIN=1 and must end with their standard input, which closes however this process
 * ends; SIGTERM drains them. What they print to standard error is printed here.
 */
export function keepProcesses(program: string, logger: Logger): Processes {
  const running = new Set<Running>();
  let [count, variables, failures]: [number, Variables, number] = [0, {}, 0];
  let timer: ReturnType<typeof setTimeout> | undefined;

  const start = () => {
    const child = spawn(process.execPath, [program], {
      env: { ...process.env, ...variables, STOP_WITH_STDIN: "1" },
      stdio: ["pipe", "ignore", "inherit"],
      // A group of its own: Ctrl-C reaches it once, from here.
      detached: process.platform !== "win32",
    });
    const startedAt = performance.now();
    const ended = new Promise<void>((resolve) => child.once("close", () => resolve()).once("error", () => resolve()));
    const one: Running = { child, ended, isWanted: true };
    running.add(one);
    void ended.then(() => {
      running.delete(one);
      if (!one.isWanted) return;
      failures = performance.now() - startedAt > 10_000 ? 0 : failures + 1;
      logger.log("warn", "a process has ended and is started again", { program, process: child.pid });
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
  };
  return {
    get count() {
      return count;
    },
    get ids() {
      return [...running].flatMap(({ child }) => (child.pid === undefined ? [] : [child.pid]));
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
