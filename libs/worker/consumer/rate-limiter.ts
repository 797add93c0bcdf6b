import type { Pace } from "@sluice/broker";
import { rateLimitIntervalMs } from "@sluice/contract";
import type { Clock, Logger } from "@sluice/kernel";
import { GatheredCalls } from "./gathered-calls.ts";
import { insist } from "./insist.ts";
import type { PaceEra, PaceInForce } from "./pace-in-force.ts";
import { pause } from "./pause.ts";

/** What a limiter works with. */
export interface RateLimiterContext {
  /** Where it is reserved: in the database for all processes of a group, or in this one alone. */
  readonly pace: Pick<Pace, "reserve">;
  readonly group: number;
  readonly topic: number;
  /** Says which limit holds at present. */
  readonly inForce: PaceInForce;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** A message's turn: when it may be handed over, by `performance.now()`, as long as the era holds that it was reserved in. */
export interface Turn {
  readonly at: number;
  readonly era: PaceEra;
}

/** Reserved at once at most: what a process reserves and does not use is lost for the others. */
const reservedMessages = 64;

/**
 * Keeps a group's handlers to its rate over all processes: each reserves in the database what it is about to hand over, as
 * much as waits and no more, and lets it go at the times that it got. When another limit comes into force, what waits for its
 * turn reserves anew.
 */
export class RateLimiter {
  readonly #context: RateLimiterContext;
  readonly #ofGroup: GatheredCalls<null, Turn>;

  constructor(context: RateLimiterContext) {
    this.#context = context;
    this.#ofGroup = new GatheredCalls({ limit: reservedMessages, everyMs: 0 }, async (items) => {
      const { era } = context.inForce;
      const at = performance.now() + (await this.#reserve(era, "", items.length));
      return items.map((_, index) => ({ at: at + index * intervalOf(era), era }));
    });
  }

  /** Whether messages have to wait for their turn. */
  get isOn(): boolean {
    const { isClosed, limit } = this.#context.inForce.era;
    return isClosed || limit !== undefined;
  }

  /** Whether each key has a limit of its own. */
  get isPerKey(): boolean {
    return this.#context.inForce.era.limit?.scope === "key";
  }

  /** How many messages of the whole group may go in a second, at least one; infinitely many where there is no such limit. */
  get recordsPerSecond(): number {
    const { era } = this.#context.inForce;
    if (era.limit === undefined || this.isPerKey) return Number.POSITIVE_INFINITY;
    return Math.max(1, Math.ceil(1_000 / intervalOf(era)));
  }

  /**
   * Waits until a message of this key may be handed over: until it is its turn, and `mayBegin` says so. Resolves with that, or
   * with false after the abort.
   */
  async untilTurn(key: string | null, signal: AbortSignal, mayBegin: () => Promise<boolean>): Promise<boolean> {
    for (;;) {
      const turn = await this.#waitForTurn(key, signal);
      if (!(await mayBegin()) || signal.aborted) return false;
      if (this.holds(turn)) return true;
    }
  }

  /** Whether the limit under which it was reserved is still in force. */
  holds({ era }: Turn): boolean {
    return this.#context.inForce.era === era;
  }

  /** Reserves a turn for a message of this key. Waits for the database as long as need be, but not past the abort. */
  async reserve(key: string | null, signal: AbortSignal): Promise<Turn> {
    const { era } = this.#context.inForce;
    // Messages without a key have no limit to share.
    if (era.limit === undefined || (era.limit.scope === "key" && key === null)) return { at: 0, era };
    const turn = await insist("reserving the pace", { ...this.#context, signal }, async () =>
      era.limit?.scope === "key"
        ? { at: performance.now() + (await this.#reserve(era, key ?? "", 1)), era }
        : await this.#ofGroup.add(null),
    );
    return turn === "stopped" ? { at: 0, era } : turn;
  }

  /** Waits until it is a turn's time, or until another limit is in force. */
  async over({ at, era }: Turn, signal: AbortSignal): Promise<void> {
    const waitMs = at - performance.now();
    if (waitMs > 0) await pause(this.#context.clock, waitMs, signal, era.over);
  }

  async #waitForTurn(key: string | null, signal: AbortSignal): Promise<Turn> {
    const { era } = this.#context.inForce;
    if (era.isClosed) return { at: 0, era };
    const turn = await this.reserve(key, signal);
    await this.over(turn, signal);
    return turn;
  }

  async #reserve(era: PaceEra, key: string, count: number): Promise<number> {
    const { pace, group, topic } = this.#context;
    if (era.limit === undefined) return 0;
    return await pace.reserve(group, topic, key, count, intervalOf(era), era.sinceMs);
  }
}

function intervalOf({ limit }: PaceEra): number {
  return limit === undefined ? 0 : rateLimitIntervalMs(limit);
}
