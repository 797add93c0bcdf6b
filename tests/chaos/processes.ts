import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as wait } from "node:timers/promises";
import type { ProcessOptions } from "./workload.ts";

/** What the processes of a crew have in common. */
export interface CrewOptions {
  readonly folder: string;
  readonly kind: "producer" | "consumer";
  readonly size: number;
  readonly url: string;
  /** Bulk messages a second, all together. */
  readonly rate: number;
  readonly commitsFirst: boolean;
}

interface Place {
  readonly name: string;
  readonly child: ChildProcess;
  readonly ended: Promise<void>;
}

let processCount = 0;

/** Processes of one kind; each place is filled again when its process has ended, by one with a new name. */
export class Crew {
  readonly #options: CrewOptions;
  readonly #places: Place[] = [];
  readonly #incarnations: number[] = [];
  #isClosed = false;
  /** The histories of all that there ever were. */
  readonly historyFiles: string[] = [];
  /** Processes that ended and nobody had told them to. */
  readonly unexpected: string[] = [];

  constructor(options: CrewOptions) {
    this.#options = options;
    for (let index = 0; index < options.size; index++) this.#start(index, 0);
  }

  get size(): number {
    return this.#options.size;
  }

  /** Ends a process at once and starts another in its place, whose clock is wrong by as much as is said. */
  async kill(index: number, clockShiftMs = 0): Promise<void> {
    const place = this.#places[index];
    if (place === undefined) return;
    this.#forget(place);
    place.child.kill("SIGKILL");
    await place.ended;
    if (!this.#isClosed) this.#start(index, clockShiftMs);
  }

  /** Freezes a process for so long. */
  async freeze(index: number, forMs: number): Promise<void> {
    const place = this.#places[index];
    if (place === undefined) return;
    place.child.kill("SIGSTOP");
    try {
      await wait(forMs);
    } finally {
      place.child.kill("SIGCONT");
    }
  }

  /** The name of a process. */
  nameOf(index: number): string {
    return this.#places[index]?.name ?? "";
  }

  /** What a process has in memory, in MiB; `undefined` where the system does not say. */
  memoryMb(index: number): number | undefined {
    const pid = this.#places[index]?.child.pid;
    const status = `/proc/${pid}/status`;
    if (pid === undefined || !existsSync(status)) return undefined;
    const kilobytes = /^VmRSS:\s+(\d+)/m.exec(readFileSync(status, "utf8"))?.[1];
    return kilobytes === undefined ? undefined : Number(kilobytes) / 1_024;
  }

  /** Asks all to finish, and waits; those that do not are ended, and named in the answer. */
  async close(withinMs: number): Promise<string[]> {
    this.#isClosed = true;
    const late: string[] = [];
    await Promise.all(
      this.#places.map(async (place) => {
        this.#forget(place);
        place.child.kill("SIGCONT");
        place.child.kill("SIGTERM");
        const timer = new AbortController();
        const isLate = wait(withinMs, true, { signal: timer.signal }).catch(() => false);
        if (await Promise.race([place.ended.then(() => false), isLate])) {
          late.push(place.name);
          place.child.kill("SIGKILL");
        }
        timer.abort();
        await place.ended;
      }),
    );
    return late;
  }

  readonly #expected = new Set<string>();

  #forget({ name }: Place): void {
    this.#expected.add(name);
  }

  #start(index: number, clockShiftMs: number): void {
    const { folder, kind, url, rate, size, commitsFirst } = this.#options;
    const incarnation = (this.#incarnations[index] ?? 0) + 1;
    this.#incarnations[index] = incarnation;
    const name = `${kind}-${index}.${incarnation}`;
    processCount += 1;
    const historyFile = join(folder, `${name}.ndjson`);
    const options: ProcessOptions = {
      name,
      number: processCount,
      url,
      historyFile,
      rate: rate / size,
      clockShiftMs,
      commitsFirst,
    };
    this.historyFiles.push(historyFile);
    const log = openSync(join(folder, `${name}.log`), "a");
    closeSync(openSync(historyFile, "a"));
    const child = spawn(process.execPath, [join(import.meta.dirname, `${kind}-process.ts`)], {
      env: { ...process.env, SLUICE_CHAOS: JSON.stringify(options) },
      // Held open: a child ends when it closes, however this process ends.
      stdio: ["pipe", log, log],
    });
    closeSync(log);
    const place: Place = {
      name,
      child,
      ended: new Promise((resolve) => {
        child.once("exit", () => resolve());
        child.once("error", () => resolve());
      }),
    };
    this.#places[index] = place;
    void place.ended.then(() => {
      if (this.#expected.has(name)) return;
      this.unexpected.push(name);
      if (!this.#isClosed) this.#start(index, 0);
    });
  }
}
