import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import type { Listener, MemberBody, MemberOptions } from "./member-body.ts";
import type { Report } from "./workload.ts";

/** What member-process.ts says, a line for each. */
export type Word = "started" | "closed" | "end reached" | Report;

/** A process of its own. Abandoned, it is killed. */
export class ProcessBody implements MemberBody {
  readonly #child: ChildProcess;
  readonly started: Promise<void>;
  readonly ended: Promise<void>;

  constructor(options: MemberOptions, _directUrl: string, listener: Listener) {
    this.#child = spawn(process.execPath, [join(import.meta.dirname, "member-process.ts")], {
      env: { ...process.env, SLUICE_MODEL_MEMBER: JSON.stringify(options) },
      // It ends when its input does, however this process ends.
      stdio: ["pipe", "pipe", "inherit"],
    });
    const { promise: started, resolve: onStarted, reject: onNotStarted } = Promise.withResolvers<void>();
    this.started = started;
    const exited = new Promise<void>((resolve) => this.#child.once("exit", () => resolve()));
    const lines = createInterface({ input: this.#child.stdout ?? process.stdin });
    const read = new Promise<void>((resolve) => lines.once("close", () => resolve()));
    lines.on("line", (line) => {
      const word: Word = JSON.parse(line);
      if (word === "started") onStarted();
      else if (word === "end reached") listener.onEndReached();
      else if (word !== "closed") listener.onReport(word);
    });
    this.ended = Promise.all([exited, read]).then(() =>
      onNotStarted(new Error("the member ended before it had started")),
    );
    // Whoever does not wait for the start does not care either.
    started.catch(() => undefined);
  }

  async close(): Promise<void> {
    this.#child.stdin?.end();
    await this.ended;
  }

  abandon(): void {
    this.#child.kill("SIGKILL");
  }

  endAt(phase: Report["phase"], skip: number): void {
    this.#child.stdin?.write(`${JSON.stringify({ phase, skip })}\n`);
  }
}
