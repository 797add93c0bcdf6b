import type { Asked } from "@sluice/contract";
import { type Logger, toError } from "@sluice/kernel";
import { type Pool, textArrayLiteral } from "@sluice/store";
import ringStatement from "./sql/ring.sql" with { type: "text" };
import ringRepliesStatement from "./sql/ring-replies.sql" with { type: "text" };

/**
 * What a doorbell says: these partitions have something new, the outbox has, a delayed message is due soon, a schedule has
 * changed, redriven messages wait for a position, or a group is to be looked at.
 */
export type Ring =
  | { readonly kind: "log"; readonly topic: number; readonly partitions: readonly number[] }
  | { readonly kind: "outbox" | "delay" | "schedule" }
  | { readonly kind: "redrive"; readonly position: number }
  | { readonly kind: "group"; readonly group: number };

/** A payload of the channel `sluice`; `undefined` for one that this version does not know. */
export function parseRing(payload: string): Ring | undefined {
  const [kind, ...rest] = payload.split(" ");
  const numbers = rest.map(Number);
  if (numbers.some((number) => !Number.isInteger(number))) return undefined;
  const [first, ...others] = numbers;
  if (kind === "outbox" || kind === "delay" || kind === "schedule") return { kind };
  if (first === undefined) return undefined;
  if (kind === "log") return { kind, topic: first, partitions: others };
  if (kind === "redrive") return { kind, position: first };
  if (kind === "group") return { kind, group: first };
  return undefined;
}

/** An append may ring in its own transaction when its topic was not rung for this long, in milliseconds. */
const rideEveryMs = 5;
/** What did not ride rings this long after the topic's last ring, unless a later append takes it along. */
const trailingMs = 7;

/**
 * Rings other processes' doorbells when something was appended. A ring is a hint, never a truth: one that fails is logged
 * and given up, because every reader looks by itself now and then.
 *
 * NOTIFY takes a lock of the whole database until its transaction's end. Riding in every append would make appends of
 * different processes wait for each other's fsync; ringing over another connection after each costs a lone sender half its
 * rate. So one append every {@link rideEveryMs} carries the ring along, for itself and for those before it that did not,
 * and the last of a burst is rung for over another connection.
 */
export class Doorbell {
  readonly #pool: Pool;
  readonly #logger: Logger;
  readonly #waiting = new Map<number, Set<number>>();
  readonly #rungAt = new Map<number, number>();
  readonly #groups = new Set<number>();
  #replies: Pick<Asked, "inbox" | "correlation">[] = [];
  #ringing: Promise<void> | undefined;

  constructor(pool: Pool, logger: Logger) {
    this.#pool = pool;
    this.#logger = logger;
  }

  /** What an append to these partitions should notify of in its own transaction; `null`: nothing, ring afterwards. */
  tryRide(topic: number, partitions: readonly number[]): string | null {
    const now = performance.now();
    if (now - this.#lastRung(topic) < rideEveryMs) return null;
    this.#rungAt.set(topic, now);
    const waiting = this.#waiting.get(topic);
    if (waiting === undefined) return logPayload(topic, partitions);
    this.#waiting.delete(topic);
    for (const partition of partitions) waiting.add(partition);
    return logPayload(topic, waiting);
  }

  /** These partitions got something that did not ring by itself. */
  ringLog(topic: number, partitions: Iterable<number>): void {
    let waiting = this.#waiting.get(topic);
    if (waiting === undefined) {
      waiting = new Set();
      this.#waiting.set(topic, waiting);
    }
    for (const partition of partitions) waiting.add(partition);
    this.#start();
  }

  /** The database moved messages into the log, and says where: `<topic> <partition> …`, separated by commas. */
  ringMoved(rings: string): void {
    for (const ring of rings.split(",")) {
      const [topic, ...partitions] = ring.split(" ").map(Number);
      if (topic !== undefined && partitions.length > 0) this.ringLog(topic, partitions);
    }
  }

  /** A group's members or what they own has changed. */
  ringGroup(group: number): void {
    this.#groups.add(group);
    this.#start();
  }

  /** Answers were committed that did not ring by themselves. */
  ringReplies(replies: Iterable<Pick<Asked, "inbox" | "correlation">>): void {
    this.#replies.push(...replies);
    this.#start();
  }

  /** Resolves when everything asked for so far has rung. */
  async idle(): Promise<void> {
    while (this.#ringing !== undefined) await this.#ringing;
  }

  #lastRung(topic: number): number {
    return this.#rungAt.get(topic) ?? Number.NEGATIVE_INFINITY;
  }

  #start(): void {
    this.#ringing ??= this.#run();
  }

  async #run(): Promise<void> {
    while (this.#waiting.size > 0 || this.#groups.size > 0 || this.#replies.length > 0) {
      if (this.#replies.length > 0) await this.#ringWhoAsked(this.#replies.splice(0));
      const due = this.#takeDue();
      if (due.length > 0) await this.#ring([textArrayLiteral(due)]);
      else if (this.#waiting.size > 0) await new Promise<void>((resolve) => setTimeout(resolve, trailingMs));
    }
    // In the same turn as the look that found nothing waiting, or a ring asked for in between would be lost.
    this.#ringing = undefined;
  }

  #takeDue(): readonly string[] {
    const now = performance.now();
    const payloads = [...this.#groups].map((group) => `group ${group}`);
    this.#groups.clear();
    for (const [topic, partitions] of this.#waiting) {
      if (now - this.#lastRung(topic) < trailingMs) continue;
      payloads.push(logPayload(topic, partitions));
      this.#waiting.delete(topic);
      this.#rungAt.set(topic, now);
    }
    return payloads;
  }

  async #ringWhoAsked(replies: readonly Pick<Asked, "inbox" | "correlation">[]): Promise<void> {
    const [inboxes, correlations] = [replies.map(({ inbox }) => inbox), replies.map(({ correlation }) => correlation)];
    await this.#ring([inboxes, correlations].map(textArrayLiteral), ringRepliesStatement);
  }

  async #ring(lists: readonly string[], statement = ringStatement): Promise<void> {
    try {
      await this.#pool.query("ringing the doorbell", statement, lists);
    } catch (error) {
      this.#logger.log("debug", "a doorbell did not ring; readers will find the records when they poll", {
        error: toError(error),
      });
    }
  }
}

function logPayload(topic: number, partitions: Iterable<number>): string {
  return `log ${topic} ${[...partitions].join(" ")}`;
}
