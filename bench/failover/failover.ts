import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as wait } from "node:timers/promises";
import type { LogBench } from "../log/send.ts";
import { percentiles, type Spell } from "../measure.ts";
import { openBenchServer } from "../server.ts";

/** Of the frozen process; by default it would be 15 seconds. */
const freezeLeaseMs = 2_000;
/** Of eight partitions and two members. */
const share = 4;

const kinds = [
  {
    name: "failover-crash",
    signal: "SIGKILL",
    leaseMs: 15_000,
    goalMs: 1_000,
    rounds: 40,
    note: "SIGKILL; Kafka's default to notice: session.timeout.ms 45,000 (a setting, not measured)",
  },
  {
    name: "failover-close",
    signal: "SIGTERM",
    leaseMs: 15_000,
    goalMs: 100,
    rounds: 40,
    note: "SIGTERM, nothing in hand; in Kafka a member that leaves says so, too",
  },
  {
    name: "failover-freeze",
    signal: "SIGSTOP",
    leaseMs: freezeLeaseMs,
    goalMs: freezeLeaseMs + 1_000,
    rounds: 10,
    note: `SIGSTOP with a lease of ${freezeLeaseMs} ms, of which it is made (default 15,000); Kafka's defaults: session.timeout.ms 45,000, heartbeat.interval.ms 3,000 (settings, not measured)`,
  },
] as const;

/** How processes end in this benchmark. */
export const failoverKinds = kinds.map(({ name }) => name);

/** From the signal to a process until another has taken over the last of its partitions; `only`: of one kind. */
export async function failover(bench: LogBench, only?: string): Promise<readonly Spell[]> {
  await using server = await openBenchServer(bench.server.url, "_failover");
  const survivor = new Member(server.url, "survivor", 15_000);
  const spells: Spell[] = [];
  try {
    await survivor.until(2 * share);
    for (const { name, signal, leaseMs, goalMs, rounds, note } of kinds) {
      if (only !== undefined && name !== only) continue;
      const timesMs: number[] = [];
      for (let round = 0; round < Math.max(3, Math.round(rounds * bench.scale)); round += 1) {
        const victim = new Member(server.url, "victim", leaseMs);
        try {
          await victim.until(share);
          const before = survivor.taken.length;
          // The others look every half second, and the coming of this one has told them when to begin: any moment is to be met alike.
          await wait(Math.random() * 500);
          const from = performance.timeOrigin + performance.now();
          victim.signal(signal);
          await survivor.until(before + share);
          timesMs.push(Math.max(...survivor.taken.slice(before)) - from);
        } finally {
          await victim.end();
        }
      }
      const measured = percentiles(Float64Array.from(timesMs));
      const mostMs = Math.max(...timesMs);
      spells.push({ name, count: timesMs.length, ...measured, mostMs, goalMs, held: measured.p99Ms <= goalMs, note });
    }
  } finally {
    await survivor.end();
  }
  return spells;
}

/** A process of member.ts. */
class Member {
  /** When it took partitions, in milliseconds since 1970. */
  readonly taken: number[] = [];
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  #wake = Promise.withResolvers<void>();

  constructor(url: string, name: string, leaseMs: number) {
    this.#child = spawn(process.execPath, [join(import.meta.dirname, "member.ts")], {
      env: { ...process.env, DATABASE_URL: url, NAME: name, LEASE: String(leaseMs) },
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#ended = new Promise((resolve) => this.#child.once("close", resolve));
    const { stdout } = this.#child;
    if (stdout === null) throw new Error("a member has no standard output");
    createInterface({ input: stdout }).on("line", (line) => {
      this.taken.push(Number(line));
      this.#wake.resolve();
      this.#wake = Promise.withResolvers<void>();
    });
  }

  /** Resolves once it has taken this many in all. */
  async until(count: number): Promise<void> {
    while (this.taken.length < count) await this.#wake.promise;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  async end(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }
}
