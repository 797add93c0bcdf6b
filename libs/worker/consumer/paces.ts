import { type AppliedHours, type DatabaseClock, type GroupPosition, Pace, reportHours } from "@sluice/broker";
import type { AnyConsumer, RateLimit } from "@sluice/contract";
import { type Clock, type Logger, toError } from "@sluice/kernel";
import type { TopicEntry } from "@sluice/log";
import type { Pool } from "@sluice/store";
import { PaceInForce } from "./pace-in-force.ts";
import { RateLimiter } from "./rate-limiter.ts";

/** What paces work with. */
export interface PacesContext {
  readonly pool: Pool;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly databaseClock: DatabaseClock;
}

/** What a pace is kept for: one consumer's part in its group. */
interface PacedConsumer {
  readonly consumer: AnyConsumer;
  readonly entry: TopicEntry;
  readonly group: number;
}

/** What a position tells of its group's being let go at a rate. */
type ReleasedPosition = Pick<GroupPosition, "releaseMessages" | "releasePerMs" | "releasedAtMs">;

interface Paced {
  readonly pace: PaceInForce;
  readonly rateLimiter: RateLimiter;
}

/** The longest that a timer is set for: what it waits for may be weeks away. */
const longestTimerMs = 3_600_000;

/**
 * How fast each consumer of a process may go: by its hours, by the database's clock, and by what is let go at a rate. One for
 * all its partitions.
 */
export class Paces {
  readonly #context: PacesContext;
  readonly #onChange: (pace: PaceInForce) => void;
  readonly #paced = new Map<PacedConsumer, Paced>();
  /** What was written down of each, and as whom. */
  readonly #reported = new Map<PacedConsumer, { readonly member: number; readonly era: unknown }>();
  #cancelTimer = () => {};
  #isEnded = false;

  /** @param onChange called when another pace is in force */
  constructor(context: PacesContext, onChange: (pace: PaceInForce) => void) {
    this.#context = context;
    this.#onChange = onChange;
  }

  /** The consumer's pace, and what keeps to it. */
  of(joined: PacedConsumer): Paced {
    const known = this.#paced.get(joined);
    if (known !== undefined) return known;
    const { group, entry, consumer } = joined;
    const inForce = new PaceInForce(consumer);
    const pace = new Pace(this.#context.pool);
    const rateLimiter = new RateLimiter({ ...this.#context, pace, group, topic: entry.number, inForce });
    const paced = { pace: inForce, rateLimiter };
    this.#paced.set(joined, paced);
    return paced;
  }

  /** Asks what time it is, when there are hours to keep, and writes down what this member applies. Fails when nobody can be asked. */
  async look(joined: readonly PacedConsumer[], member: number): Promise<void> {
    const withHours = joined.filter(({ consumer }) => consumer.hours !== undefined);
    if (withHours.length === 0) return;
    for (const one of withHours) this.of(one);
    await this.#context.databaseClock.learn();
    this.#keepTime();
    await Promise.all(withHours.map((one) => this.#report(one, member)));
  }

  /** What the database says of groups that let go at a rate what had gathered. */
  heedReleases(joined: readonly PacedConsumer[], positions: readonly GroupPosition[]): void {
    for (const one of joined) {
      const isOfOne = ({ group, topic }: GroupPosition) => group === one.group && topic === one.entry.number;
      this.heedRelease(one, positions.find(isOfOne));
    }
  }

  /** The same of one group, by any of its positions. */
  heedRelease(one: PacedConsumer, position: ReleasedPosition | undefined): void {
    const { releaseMessages: messages, releasePerMs: perMs, releasedAtMs: atMs } = position ?? {};
    const release = messages && perMs && atMs ? { messages, perMs, atMs } : undefined;
    const { pace } = this.of(one);
    if (!pace.heedRelease(release)) return;
    const rate = release === undefined ? null : rateText({ messages: release.messages, per: release.perMs });
    const what = release === undefined ? "what had gathered is done" : "what has gathered is let go at a rate";
    this.#context.logger.log("info", what, { group: one.consumer.group, topic: one.entry.name, rate });
    this.#onChange(pace);
  }

  /** Changes nothing any more. */
  end(): void {
    this.#isEnded = true;
    this.#cancelTimer();
  }

  /** Applies what the time says, and comes back when the next window opens or closes. Goes on by the timer when nobody can be asked. */
  #keepTime(): void {
    const nowMs = this.#context.databaseClock.estimate();
    if (nowMs === undefined || this.#isEnded) return;
    let nextMs = Number.POSITIVE_INFINITY;
    for (const [joined, { pace }] of this.#paced) {
      if (pace.at(nowMs)) {
        this.#onChange(pace);
        this.#log(joined, pace);
      }
      nextMs = Math.min(nextMs, pace.open?.untilMs ?? Number.POSITIVE_INFINITY);
    }
    this.#cancelTimer();
    if (nextMs === Number.POSITIVE_INFINITY) return;
    const waitMs = Math.min(longestTimerMs, Math.max(1, Math.ceil(nextMs - nowMs)));
    this.#cancelTimer = this.#context.clock.after(waitMs, () => this.#keepTime());
  }

  #log({ consumer, entry }: PacedConsumer, { era, windowName, open }: PaceInForce): void {
    const untilMs = open?.untilMs ?? Number.POSITIVE_INFINITY;
    const what = era.isClosed ? "hours: closed, nothing is handed over" : "hours: another pace is in force";
    this.#context.logger.log("info", what, {
      group: consumer.group,
      topic: entry.name,
      window: windowName,
      concurrency: era.concurrency,
      rate: era.limit === undefined ? null : rateText(era.limit),
      until: Number.isFinite(untilMs) ? new Date(untilMs).toISOString() : null,
    });
  }

  /** For people alone: one that cannot be written is written at the next look. */
  async #report(joined: PacedConsumer, member: number): Promise<void> {
    const { pace } = this.of(joined);
    const { era, windowName, open } = pace;
    const before = this.#reported.get(joined);
    if (open === undefined || (before?.member === member && before.era === era)) return;
    const applied: AppliedHours = {
      group: joined.group,
      topic: joined.entry.number,
      window: windowName,
      isOpen: !era.isClosed,
      concurrency: era.concurrency,
      rate: era.limit === undefined ? null : rateText(era.limit),
      sinceMs: open.sinceMs,
      untilMs: open.untilMs,
    };
    try {
      await reportHours(this.#context.pool, member, applied);
      this.#reported.set(joined, { member, era });
    } catch (error) {
      const names = { group: joined.consumer.group, topic: joined.entry.name };
      const trouble = "the hours in force could not be written down and are at the next look";
      this.#context.logger.log("warn", trouble, { ...names, error: toError(error) });
    }
  }
}

function rateText({ messages, per, scope }: RateLimit): string {
  return `${messages} per ${typeof per === "number" ? `${per}ms` : per}${scope === "key" ? ", each key" : ""}`;
}
