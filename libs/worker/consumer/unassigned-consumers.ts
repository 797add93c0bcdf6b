import type { AnyConsumer } from "@sluice/contract";
import type { Logger } from "@sluice/kernel";
import type { TopicEntry } from "@sluice/log";
import type { JoinedConsumer, WorkerContext } from "../worker-context.ts";
import { BroadcastConsumer } from "./broadcast-consumer.ts";
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
  #sharing: readonly SharedConsumer[] = [];
  #broadcasts: readonly BroadcastConsumer[] | undefined;

  constructor(context: WorkerContext, joined: readonly JoinedConsumer[], leaseMs: number) {
    this.#context = context;
    this.#leaseMs = leaseMs;
    this.#shared = joined.filter(({ consumer }) => consumer.mode === "shared");
    this.#broadcast = joined.filter(({ consumer }) => consumer.mode === "broadcast");
  }

  /** Begins, as this member; one that is paused shares nothing. Fails when it cannot be told where broadcasts begin. */
  async begin(member: number, isPaused = false): Promise<void> {
    this.#broadcasts ??= (await Promise.all(this.#broadcast.map((joined) => this.#beginBroadcast(joined)))).flat();
    if (isPaused) return;
    this.#sharing = this.#shared.map(
      (joined) => new SharedConsumer(this.#context, { ...joined, member, leaseMs: this.#leaseMs }),
    );
  }

  /** Something was appended. */
  heard(topic: number, partitions: readonly number[]): void {
    for (const shared of this.#sharing) if (shared.entry.number === topic) shared.wake(partitions);
    for (const broadcast of this.#broadcasts ?? [])
      if (broadcast.entry.number === topic && partitions.includes(broadcast.partition)) broadcast.wake();
  }

  /** Looks whether there is something that no doorbell told of. (Shared consumers look by themselves.) */
  poll(): void {
    for (const broadcast of this.#broadcasts ?? []) broadcast.wake();
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
    const [shared, ...others] = await Promise.all([
      this.endSharing(drainMs),
      ...broadcasts.map((broadcast) => broadcast.stop(drainMs)),
    ]);
    return warnUnless(others, drainMs, this.#context.logger) && shared;
  }

  async #beginBroadcast({ consumer, entry, group }: JoinedConsumer): Promise<readonly BroadcastConsumer[]> {
    const ends = await this.#context.log.ends(
      Array.from({ length: entry.partitions }, (_, partition) => ({ topic: entry.number, partition })),
    );
    return await Promise.all(
      ends.map(async ({ partition, start, end }) => {
        const place = await this.#offsetOf(consumer.start, entry, partition, { start, end });
        const from = Math.min(Math.max(place, start), end);
        return new BroadcastConsumer(this.#context, { consumer, entry, group, partition, from });
      }),
    );
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

function warnUnless(inTime: readonly boolean[], drainMs: number, logger: Logger): boolean {
  if (inTime.every(Boolean)) return true;
  logger.log("warn", "handlers did not finish in time", { drainMs, consumers: inTime.filter((done) => !done).length });
  return false;
}
