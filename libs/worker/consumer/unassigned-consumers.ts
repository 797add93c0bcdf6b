import { DatabaseClock, type GroupPartition, pausedPartitions, type Ring } from "@sluice/broker";
import type { AnyConsumer } from "@sluice/contract";
import { type Logger, toError } from "@sluice/kernel";
import type { TopicEntry } from "@sluice/log";
import type { JoinedConsumer, WorkerContext } from "../worker-context.ts";
import { BroadcastConsumer } from "./broadcast-consumer.ts";
import { LocalPace } from "./local-pace.ts";
import { PaceInForce } from "./pace-in-force.ts";
import type { Paces } from "./paces.ts";
import { RateLimiter } from "./rate-limiter.ts";
import { SharedConsumer } from "./shared-consumer.ts";

/** Whether partitions of this consumer's topic are given to its members: not when they share messages or each gets all. */
export function isAssigned({ mode }: AnyConsumer): boolean {
  return mode === "ordered" || mode === "keyed";
}

/**
 * What a worker runs without owning partitions: its part in shared groups, which is bound to its membership, and broadcasts, which
 * are bound to nothing and go on when the session is lost.
 */
export class UnassignedConsumers {
  readonly #context: WorkerContext;
  readonly #shared: readonly JoinedConsumer[];
  readonly #broadcast: readonly JoinedConsumer[];
  readonly #leaseMs: number;
  readonly #paces: Paces;
  readonly #databaseClock: DatabaseClock;
  #sharing: readonly SharedConsumer[] = [];
  /** One look for pauses at a time, and the end waits for it. */
  #looking: Promise<void> = Promise.resolve();
  #broadcasts: readonly BroadcastConsumer[] | undefined;

  constructor(context: WorkerContext, joined: readonly JoinedConsumer[], leaseMs: number, paces: Paces) {
    this.#context = context;
    this.#paces = paces;
    this.#leaseMs = leaseMs;
    this.#databaseClock = new DatabaseClock(context.pool);
    this.#shared = joined.filter(({ consumer }) => consumer.mode === "shared");
    this.#broadcast = joined.filter(({ consumer }) => consumer.mode === "broadcast");
  }

  /** Begins, as this member; one that is paused shares nothing. Fails when it cannot be told where broadcasts begin. */
  async begin(member: number, isPaused = false): Promise<void> {
    this.#broadcasts ??= await this.#beginBroadcasts();
    if (isPaused) return;
    this.#sharing = this.#shared.map(
      (joined) =>
        new SharedConsumer(
          { ...this.#context, databaseClock: this.#databaseClock },
          {
            ...joined,
            ...this.#paces.of(joined),
            member,
            leaseMs: this.#leaseMs,
            onLook: (positions) => this.#paces.heedRelease(joined, positions[0]),
          },
        ),
    );
  }

  /** A consumer's pace has changed. */
  heedPace(pace: PaceInForce): void {
    for (const shared of this.#sharing) if (shared.pace === pace) shared.heedPace();
  }

  /** A doorbell rang: something was appended, redriven, or done to a group. */
  heard(ring: Ring): void {
    if (ring.kind === "group" || ring.kind === "redrive") {
      for (const shared of this.#sharing)
        if (ring.kind === "redrive" ? shared.hasPosition(ring.position) : shared.group === ring.group)
          shared.wakeToLook();
      if (ring.kind === "group" && this.#broadcast.some(({ group }) => group === ring.group)) this.#lookForPauses();
    } else if (ring.kind === "log") {
      const { topic, partitions } = ring;
      for (const shared of this.#sharing) if (shared.entry.number === topic) shared.wake(partitions);
      for (const broadcast of this.#broadcasts ?? [])
        if (broadcast.entry.number === topic && partitions.includes(broadcast.partition)) broadcast.wake();
    }
  }

  /** Looks whether there is something that no doorbell told of. (Shared consumers look by themselves.) */
  poll(): void {
    for (const broadcast of this.#broadcasts ?? []) broadcast.wake();
    this.#lookForPauses();
  }

  /** The membership is over: what is leased is given back. Resolves with whether all handlers were done in time. */
  async endSharing(drainMs: number): Promise<boolean> {
    const inTime = await Promise.all(this.#sharing.map((shared) => shared.stop(drainMs)));
    this.#sharing = [];
    return warnUnless(inTime, drainMs, this.#context.logger);
  }

  /** Everything ends. Resolves with whether all handlers were done in time. */
  async end(drainMs: number): Promise<boolean> {
    const broadcasts = this.#broadcasts ?? [];
    await this.#looking;
    const [shared, ...others] = await Promise.all([
      this.endSharing(drainMs),
      ...broadcasts.map((broadcast) => broadcast.stop(drainMs)),
    ]);
    this.#broadcasts = [];
    return warnUnless(others, drainMs, this.#context.logger) && shared;
  }

  /** One for all partitions of a broadcast, and this process's alone; `undefined` when it may go as fast as it can. */
  #localLimiter({ consumer, group, entry }: JoinedConsumer): RateLimiter | undefined {
    if (consumer.rateLimit === undefined) return undefined;
    const inForce = new PaceInForce(consumer);
    return new RateLimiter({ ...this.#context, pace: new LocalPace(), group, topic: entry.number, inForce });
  }

  async #beginBroadcasts(): Promise<readonly BroadcastConsumer[]> {
    if (this.#broadcast.length === 0) return [];
    const paused = await this.#paused();
    return (await Promise.all(this.#broadcast.map((joined) => this.#beginBroadcast(joined, paused)))).flat();
  }

  async #beginBroadcast(
    joined: JoinedConsumer,
    paused: readonly GroupPartition[],
  ): Promise<readonly BroadcastConsumer[]> {
    const { consumer, entry } = joined;
    const rateLimiter = this.#localLimiter(joined);
    const ends = await this.#context.log.ends(
      Array.from({ length: entry.partitions }, (_, partition) => ({ topic: entry.number, partition })),
    );
    return await Promise.all(
      ends.map(async ({ partition, start, end }) => {
        const place = await this.#offsetOf(consumer.start, entry, partition, { start, end });
        const from = Math.min(Math.max(place, start), end);
        const home = { ...joined, partition, from, rateLimiter, paused: isAmong(paused, joined, partition) };
        return new BroadcastConsumer({ ...this.#context, databaseClock: this.#databaseClock }, home);
      }),
    );
  }

  /** Looks at what is paused of the broadcasts' groups, one look after the other. */
  #lookForPauses(): void {
    if ((this.#broadcasts ?? []).length === 0) return;
    this.#looking = this.#looking.then(async () => {
      try {
        const paused = await this.#paused();
        for (const broadcast of this.#broadcasts ?? []) broadcast.heed(isAmong(paused, broadcast, broadcast.partition));
      } catch (error) {
        const trouble = "what is paused could not be looked up; the next look tries again";
        this.#context.logger.log("warn", trouble, { error: toError(error) });
      }
    });
  }

  #paused(): Promise<readonly GroupPartition[]> {
    const topics = this.#broadcast.map(({ group, entry }) => ({ group, topic: entry.number }));
    return pausedPartitions(this.#context.pool, topics);
  }

  async #offsetOf(
    place: string,
    { number: topic }: TopicEntry,
    partition: number,
    ends: { readonly start: number; readonly end: number },
  ): Promise<number> {
    if (place === "earliest") return ends.start;
    if (place === "latest") return ends.end;
    if (/^\d+$/.test(place)) return Number(place);
    return await this.#context.log.offsetAt({ topic, partition }, Date.parse(place));
  }
}

function isAmong(
  paused: readonly GroupPartition[],
  { group, entry }: { readonly group: number; readonly entry: TopicEntry },
  partition: number,
): boolean {
  return paused.some((one) => one.group === group && one.topic === entry.number && one.partition === partition);
}

function warnUnless(inTime: readonly boolean[], drainMs: number, logger: Logger): boolean {
  if (inTime.every(Boolean)) return true;
  logger.log("warn", "handlers did not finish in time", { drainMs, consumers: inTime.filter((done) => !done).length });
  return false;
}
