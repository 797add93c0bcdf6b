import { Pace } from "@sluice/broker";
import { type AnyConsumer, type RateLimit, rateLimitIntervalMs } from "@sluice/contract";
import type { Clock, Logger } from "@sluice/kernel";
import type { TopicEntry } from "@sluice/log";
import type { Pool } from "@sluice/store";
import { GatheredCalls } from "./gathered-calls.ts";
import { insist } from "./insist.ts";

/** What a limiter works with. */
export interface RateLimiterContext {
  readonly pace: Pace;
  readonly group: number;
  readonly topic: number;
  readonly limit: RateLimit;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** Reserved at once at most: what a process reserves and does not use is lost for the others. */
const reservedMessages = 64;

/**
 * Keeps a group's handlers to its rate over all processes: each reserves in the database what it is about to hand over, as
 * much as waits and no more, and lets it go at the times that it got.
 */
export class RateLimiter {
  readonly #context: RateLimiterContext;
  readonly #intervalMs: number;
  readonly #ofGroup: GatheredCalls<null, number>;

  constructor(context: RateLimiterContext) {
    this.#context = context;
    this.#intervalMs = rateLimitIntervalMs(context.limit);
    this.#ofGroup = new GatheredCalls(reservedMessages, async (items) => {
      const at = performance.now() + (await this.#reserve("", items.length));
      return items.map((_, index) => at + index * this.#intervalMs);
    });
  }

  /** Whether each key has a limit of its own. */
  get isPerKey(): boolean {
    return this.#context.limit.scope === "key";
  }

  /** When a message of this key may be handed over, by `performance.now()`. Waits for the database as long as need be, but not past the abort. */
  async turnOf(key: string | null, signal: AbortSignal): Promise<number> {
    // Messages without a key have no limit to share.
    if (this.isPerKey && key === null) return 0;
    const turn = await insist("reserving the pace", { ...this.#context, signal }, async () =>
      this.isPerKey ? performance.now() + (await this.#reserve(key ?? "", 1)) : await this.#ofGroup.add(null),
    );
    return turn === "stopped" ? 0 : turn;
  }

  #reserve(key: string, count: number): Promise<number> {
    const { pace, group, topic } = this.#context;
    return pace.reserve(group, topic, key, count, this.#intervalMs);
  }
}

/** What a limiter is kept for: one consumer's part in its group. */
interface LimitedConsumer {
  readonly consumer: AnyConsumer;
  readonly entry: TopicEntry;
  readonly group: number;
}

/** The limiters of a process: one per consumer, for all its partitions. */
export class RateLimiters {
  readonly #context: { readonly pool: Pool; readonly logger: Logger; readonly clock: Clock };
  readonly #limiters = new Map<LimitedConsumer, RateLimiter>();

  constructor(context: { readonly pool: Pool; readonly logger: Logger; readonly clock: Clock }) {
    this.#context = context;
  }

  /** The consumer's limiter; `undefined` when it may go as fast as it can. */
  of(joined: LimitedConsumer): RateLimiter | undefined {
    const { rateLimit: limit } = joined.consumer;
    if (limit === undefined) return undefined;
    let limiter = this.#limiters.get(joined);
    if (limiter === undefined) {
      const { group, entry } = joined;
      const pace = new Pace(this.#context.pool);
      limiter = new RateLimiter({ ...this.#context, pace, group, topic: entry.number, limit });
      this.#limiters.set(joined, limiter);
    }
    return limiter;
  }
}
