import { type Logger, toError } from "@sluice/kernel";
import { type Pool, textArrayLiteral } from "@sluice/store";
import ringStatement from "./sql/ring.sql" with { type: "text" };

/** What a doorbell says: these partitions have something new, the outbox has, or a group's members have changed. */
export type Ring =
  | { readonly kind: "log"; readonly topic: number; readonly partitions: readonly number[] }
  | { readonly kind: "outbox" }
  | { readonly kind: "group"; readonly group: number };

/** A payload of the channel `sluice`; `undefined` for one that this version does not know. */
export function parseRing(payload: string): Ring | undefined {
  const [kind, ...rest] = payload.split(" ");
  const numbers = rest.map(Number);
  if (numbers.some((number) => !Number.isInteger(number))) return undefined;
  const [first, ...others] = numbers;
  if (kind === "outbox") return { kind };
  if (first === undefined) return undefined;
  if (kind === "log") return { kind, topic: first, partitions: others };
  if (kind === "group") return { kind, group: first };
  return undefined;
}

/**
 * Rings other processes' doorbells after a commit, over connections of the pool: never inside the transaction that
 * appends, where NOTIFY takes a cluster-wide lock until the commit.
 *
 * Coalesced: while one ring is under way, what comes is gathered into the next, and the last always rings. A ring that
 * fails is logged and given up, because every reader looks by itself now and then; it is a hint, never a truth.
 */
export class Doorbell {
  readonly #pool: Pool;
  readonly #logger: Logger;
  readonly #partitions = new Map<number, Set<number>>();
  readonly #others = new Set<string>();
  #ringing: Promise<void> | undefined;

  constructor(pool: Pool, logger: Logger) {
    this.#pool = pool;
    this.#logger = logger;
  }

  /** Something was appended to these partitions. */
  ringLog(topic: number, partitions: Iterable<number>): void {
    let waiting = this.#partitions.get(topic);
    if (waiting === undefined) {
      waiting = new Set();
      this.#partitions.set(topic, waiting);
    }
    for (const partition of partitions) waiting.add(partition);
    this.#start();
  }

  /** A group's members or what they own has changed. */
  ringGroup(group: number): void {
    this.#others.add(`group ${group}`);
    this.#start();
  }

  /** Resolves when everything asked for so far has rung. */
  async idle(): Promise<void> {
    while (this.#ringing !== undefined) await this.#ringing;
  }

  #start(): void {
    this.#ringing ??= this.#run();
  }

  async #run(): Promise<void> {
    while (this.#partitions.size > 0 || this.#others.size > 0) {
      const payloads = [...this.#others];
      for (const [topic, partitions] of this.#partitions) payloads.push(`log ${topic} ${[...partitions].join(" ")}`);
      this.#others.clear();
      this.#partitions.clear();
      try {
        await this.#pool.query("ringing the doorbell", ringStatement, [textArrayLiteral(payloads)]);
      } catch (error) {
        this.#logger.log("debug", "a doorbell did not ring; readers will find the records when they poll", {
          error: toError(error),
        });
      }
    }
    this.#ringing = undefined;
  }
}
