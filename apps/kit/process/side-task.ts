import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { z } from "zod";
import { ownProcess, type Variables } from "./own-process.ts";

/** What {@link runSideTask} runs. */
export interface SideTaskOptions<Output> {
  readonly main: URL;
  /** What it gets, as one line of JSON; may hold secrets, for arguments could be read by everybody on the machine. */
  readonly input: unknown;
  readonly output: z.ZodType<Output>;
  /** Of its environment, besides that of this process. */
  readonly variables?: Variables;
  readonly signal: AbortSignal;
}

/**
 * Runs a program that gets one line of JSON and ends with one, such as a load generator, which in a process of its own slows down
 * what it measures no more than any other program would. Its side of this are {@link sideTaskInput} and {@link sideTaskOutput}.
 *
 * Fails when it ends without a result that fits, and with the signal's reason after ending it.
 */
export async function runSideTask<Output>(options: SideTaskOptions<Output>): Promise<Output> {
  const { main, input, output, signal, variables = {} } = options;
  signal.throwIfAborted();
  const { child, ended } = ownProcess(main, { variables, output: "pipe" });
  const end = () => child.kill("SIGKILL");
  signal.addEventListener("abort", end, { once: true });
  try {
    let text = "";
    child.stdout?.setEncoding("utf8").on("data", (piece: string) => {
      text += piece;
    });
    // One that has ended already is found out below.
    child.stdin?.on("error", () => undefined).write(`${JSON.stringify(input)}\n`);
    const code = await ended;
    signal.throwIfAborted();
    if (code !== 0) throw new Error(`${fileURLToPath(main)} ended with ${code}`);
    return output.parse(JSON.parse(text));
  } finally {
    signal.removeEventListener("abort", end);
    end();
  }
}

/** In the side task: what it was given. From then on it ends when whoever started it does. */
export async function sideTaskInput<Input>(schema: z.ZodType<Input>): Promise<Input> {
  const lines = createInterface({ input: process.stdin });
  lines.once("close", () => process.exit(75));
  const line = await new Promise<string>((resolve) => lines.once("line", resolve));
  return schema.parse(JSON.parse(line));
}

/** In the side task: says the result, and ends the process. */
export function sideTaskOutput(result: unknown): void {
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
}
