import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

/** The environment of a process, besides that of this one. */
export type Variables = Readonly<Record<string, string>>;

/** How {@link ownProcess} starts a program. */
export interface OwnProcessOptions {
  readonly parameters?: readonly string[];
  readonly variables?: Variables;
  /** What it prints: to be read here, to where this one prints, or nowhere. */
  readonly output: "pipe" | "inherit" | "ignore";
}

/**
 * Starts a program beside this one. It leads a process group of its own, so that Ctrl-C reaches it once, from here; its standard
 * input is a pipe that the system closes however this process ends, and it must end with that (STOP_WITH_STDIN=1). `ended` resolves
 * with its exit code; undefined when a signal has ended it or it could not be run.
 */
export function ownProcess(main: URL, { parameters = [], variables = {}, output }: OwnProcessOptions) {
  const child: ChildProcess = spawn(process.execPath, [fileURLToPath(main), ...parameters], {
    env: { ...process.env, ...variables, STOP_WITH_STDIN: "1" },
    stdio: ["pipe", output, "inherit"],
    detached: process.platform !== "win32",
  });
  const ended = new Promise<number | undefined>((resolve) => {
    child.once("close", (code) => resolve(code ?? undefined)).once("error", () => resolve(undefined));
  });
  return { child, ended };
}
