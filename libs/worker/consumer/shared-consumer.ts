import {
  type DatabaseClock,
  type Groups,
  type Lease,
  PassedOver,
  removeDeadMembers,
  SharedLeases,
  type SharedPosition,
  SharedRedriven,
  SharedRetries,
} from "@sluice/broker";
import { type AnyConsumer, compose, type Handler, laneOf } from "@sluice/contract";
import { Signal, SluiceError, toError } from "@sluice/kernel";
import type { Log, TopicEntry } from "@sluice/log";
import type { Pool } from "@sluice/store";
import { KeptMessages } from "./kept-messages.ts";
import { LeaseWriter } from "./lease-writer.ts";
import { LeasedRange } from "./leased-range.ts";
import type { DeliveryServices } from "./message.ts";
import type { PaceInForce } from "./pace-in-force.ts";
import { pause } from "./pause.ts";
import { RangeReader } from "./range-reader.ts";
import type { RateLimiter } from "./rate-limiter.ts";
import { SharedClaims } from "./shared-claims.ts";
import { SharedExpiry } from "./shared-expiry.ts";
import { SharedFailures, type SharedVerdict } from "./shared-failures.ts";
import { SharedHands } from "./shared-hands.ts";
import { SharedLookout } from "./shared-lookout.ts";
import { SecondTries } from "./shared-second-tries.ts";
import { turns } from "./turns.ts";
import { inUrgency, type UrgentPosition } from "./urgency.ts";

/** What a shared consumer works with. */
export interface SharedConsumerContext extends DeliveryServices {
  readonly pool: Pool;
  readonly log: Log;
  readonly groups: Groups;
  readonly databaseClock: DatabaseClock;
}

/** Which consumer it is, and as whom it works. */
export interface SharedConsumerHome {
  readonly consumer: AnyConsumer;
  readonly entry: TopicEntry;
  readonly group: number;
  readonly member: number;
  /** How long a lease holds that is not renewed. */
  readonly leaseMs: number;
  /** How fast its consumer may go at present, and what keeps to it. */
  readonly pace: PaceInForce;
  readonly rateLimiter: RateLimiter;
  /** Told what the database says of the group's positions, before that is heeded here. */
  readonly onLook: (positions: readonly SharedPosition[]) => void;
}

/** Ranges that are asked for in one call. */
const mostRanges = 8;
const failurePauseMs = 500;

/**
 * One process's part in a shared group: leases ranges of every partition in turn, hands their messages over side by side and
 * in no order, and acknowledges them one by one. What several members that died or froze had leased it hands over in small steps and then
 * message by message, each noted before, so that one that kills its process is found out and the others pay nothing.
 */
export class SharedConsumer {
  readonly consumer: AnyConsumer;
  readonly entry: TopicEntry;
  readonly #handler: Handler<unknown>;
  readonly #context: SharedConsumerContext;
  readonly #home: SharedConsumerHome;
  readonly #leases: SharedLeases;
  readonly #retries: SharedRetries;
  readonly #claims: SharedClaims;
  readonly #writer: LeaseWriter;
  readonly #reader: RangeReader;
  readonly #hands: SharedHands;
  readonly #seconds: SecondTries;
  readonly #expiry: SharedExpiry;
  readonly #lookout: SharedLookout;
  readonly #wake = new Signal();
  readonly #abort = new AbortController();
  /** Position → partition, and back. */
  readonly #partitionOf = new Map<number, number>();
  readonly #positionOf = new Map<number, number>();
  #urgent: readonly UrgentPosition[] = [];
  /** Positions that may have more. */
  readonly #hopeful = new Set<number>();
  readonly #run: Promise<void>;
  #turn = -1;
  /** Whether to look for ranges that others left behind, as soon as there is room. */
  #mayTakeOver = false;
  #stopped = false;
  #stopping: Promise<void> | undefined;

  constructor(context: SharedConsumerContext, home: SharedConsumerHome) {
    const { consumer, entry, leaseMs } = home;
    const { signal } = this.#abort;
    this.#context = context;
    this.#home = home;
    this.consumer = consumer;
    this.entry = entry;
    this.#handler = compose<unknown>(consumer.use, consumer.handler);
    this.#leases = new SharedLeases(context.pool, leaseMs);
    this.#retries = new SharedRetries(context.pool, leaseMs);
    const common = {
      ...context,
      consumer,
      entry,
      signal,
      names: this.#names(),
      leases: this.#leases,
      retries: this.#retries,
      kept: new KeptMessages(),
    };
    const { group, member } = home;
    const failures = new SharedFailures({ ...common, group, member });
    this.#expiry = new SharedExpiry({ ...common, group, member });
    this.#writer = new LeaseWriter({ ...common, leaseMs, commitIntervalMs: consumer.commitIntervalMs });
    const onPassedOver = (range: LeasedRange, from: number, to: number) => this.#hands.passOver(range, from, to);
    this.#reader = new RangeReader({ ...common, filter: consumer.filter, onPassedOver });
    const onVerdict = (verdict: SharedVerdict) => this.#afterVerdict(verdict);
    const expiry = this.#expiry;
    const handing = {
      ...common,
      handler: this.#handler,
      services: context,
      failures,
      expiry,
      writer: this.#writer,
      onVerdict,
    };
    const { pace, rateLimiter } = home;
    this.#hands = new SharedHands({
      ...handing,
      pace,
      rateLimiter,
      onRoom: () => this.#wake.raise(),
      onRoomAgain: () => this.#claims.wake(),
    });
    this.#seconds = new SecondTries({ ...handing, reader: this.#reader, hands: this.#hands });
    this.#claims = new SharedClaims({
      ...common,
      member,
      failed: this.#retries,
      redriven: new SharedRedriven(context.pool, leaseMs),
      positions: () => [...this.#partitionOf.keys()],
      room: () => this.#hands.roomAgain,
      handOver: (messages, taken) => this.#seconds.again(messages, taken, this.#partitionOf.get(taken.position) ?? -1),
    });
    this.#lookout = new SharedLookout({ ...home, ...handing, hands: this.#hands, claims: this.#claims });
    this.#run = this.#live();
  }

  get group(): number {
    return this.#home.group;
  }

  get pace(): PaceInForce {
    return this.#home.pace;
  }

  /** Its {@link pace} has changed. */
  heedPace(): void {
    this.#hands.heedPace();
    this.#wake.raise();
    this.#claims.wake();
  }

  hasPosition(position: number): boolean {
    return this.#partitionOf.has(position);
  }

  /** There may be something in these partitions. */
  wake(partitions: readonly number[]): void {
    for (const partition of partitions) {
      const position = this.#positionOf.get(partition);
      if (position !== undefined) this.#hopeful.add(position);
    }
    this.#wake.raise();
  }

  /** The group is to be looked at: it was paused, resumed or moved, or messages were redriven. */
  wakeToLook(): void {
    this.#lookout.ring();
    this.#wake.raise();
  }

  /**
   * Begins nothing more, waits for the handlers under way, at most `deadlineMs`, writes what is done and gives the rest back. Resolves
   * with whether all handlers were done in time.
   */
  async stop(deadlineMs: number): Promise<boolean> {
    this.#halt();
    const inTime = await this.#hands.drained(deadlineMs);
    this.#stopping ??= this.#end(inTime);
    await this.#stopping;
    return inTime;
  }

  async #end(inTime: boolean): Promise<void> {
    const reason = new SluiceError(inTime ? "CLOSED" : "DRAIN_TIMEOUT", "the consumer is stopped");
    this.#abort.abort(reason);
    this.#wake.raise();
    await Promise.all([this.#run, this.#claims.idle()]);
    await this.#seconds.idle();
    await this.#writer.stop(reason);
  }

  #halt(): void {
    this.#stopped = true;
    this.#hands.halt();
    this.#seconds.halt();
    this.#claims.halt();
    this.#wake.raise();
  }

  async #live(): Promise<void> {
    while (!this.#stopped) {
      try {
        if (this.#partitionOf.size === 0) await this.#open();
        if (this.#lookout.isDue) await this.#look();
        if (this.#mayTakeOver && this.#hands.room > 0) await this.#takeOver();
        if (!this.#stopped && !(await this.#leaseMore())) await this.#wait();
      } catch (error) {
        this.#context.logger.log("warn", "leasing messages failed and is tried again", {
          ...this.#names(),
          error: toError(error),
        });
        await pause(this.#context.clock, failurePauseMs, this.#abort.signal);
      }
    }
  }

  async #open(): Promise<void> {
    const positions = await this.#leases.positions(this.#home.group, this.entry.number);
    if (positions.length === 0) throw new SluiceError("INTERNAL", `group ${this.consumer.group} has no positions`);
    await this.#retries.resumePaused(positions.map((one) => one.position));
    for (const { position, partition } of positions) {
      this.#partitionOf.set(position, partition);
      this.#positionOf.set(partition, position);
    }
    this.#urgent = positions.map(({ position, partition }) => ({ position, ...laneOf(partition, this.entry) }));
    // Members do not all begin with the same partition.
    this.#turn = Math.floor(Math.random() * positions.length);
    this.#claims.wake();
  }

  #wait(): Promise<void> {
    return this.#wake.wait(this.#lookout.restMs);
  }

  /** What no doorbell tells of: how the group stands, messages that a doorbell was lost for, and ranges that others left behind. */
  async #look(): Promise<void> {
    await this.#lookout.look();
    for (const position of this.#partitionOf.keys()) this.#hopeful.add(position);
    this.#mayTakeOver = true;
  }

  /** Takes over what others left behind. */
  async #takeOver(): Promise<void> {
    this.#mayTakeOver = false;
    const leases = await this.#leases.takeOver(this.#home.member, [...this.#partitionOf.keys()], mostRanges);
    // All of them at once: the last may wait for long, and its lease is to be renewed meanwhile.
    const ranges = leases.map((lease) => this.#hold(lease));
    if (ranges.some(({ deliveries }) => deliveries > 0))
      await this.#tryTo("removing dead members", () => removeDeadMembers(this.#context.pool));
    for (const range of ranges.filter((one) => !this.#seconds.takes(one))) await this.#fill(range);
  }

  /** Leases from the next partitions in turn. Resolves with whether there was anything. */
  async #leaseMore(): Promise<boolean> {
    const room = this.#hands.room;
    if (room <= 0) return false;
    const most = Math.min(this.#hands.rangeRecords, room);
    const count = Math.min(mostRanges, Math.floor(room / most));
    const leases =
      this.entry.priorities > 1 ? await this.#leaseUrgent(count, most) : await this.#leaseNext(count, most);
    const ranges = leases.map((lease) => this.#hold(lease));
    for (const range of ranges) if (range.to - range.from === most) this.#hopeful.add(range.position);
    for (const range of ranges) await this.#fill(range);
    return ranges.length > 0;
  }

  async #leaseNext(count: number, most: number): Promise<readonly Lease[]> {
    const positions = this.#nextPositions(count);
    if (positions.length === 0) return [];
    // Taken off before the call: a doorbell that rings meanwhile puts them back.
    for (const position of positions) this.#hopeful.delete(position);
    if (this.entry.guards.drops) await this.#passOver(positions);
    return await this.#leases.lease(this.#home.member, positions, most);
  }

  /** The same where the more urgent partitions go first; again when other members were quicker with what was found. */
  async #leaseUrgent(count: number, most: number): Promise<readonly Lease[]> {
    while (!this.#stopped) {
      this.#turn += 1;
      const wanted = inUrgency(this.#urgent, this.#turn, (position) => this.#hopeful.has(position));
      if (wanted.length === 0) break;
      const hopeful = wanted.filter((position) => this.#hopeful.delete(position));
      if (this.entry.guards.drops) await this.#passOver(wanted);
      const { found, leases } = await this.#leases.leaseUrgent(this.#home.member, wanted, count, most);
      // Those behind the last one were not looked at.
      const looked = found.length < count ? wanted.length : wanted.indexOf(found.at(-1) ?? -1) + 1;
      for (const position of hopeful) if (wanted.indexOf(position) >= looked) this.#hopeful.add(position);
      if (leases.length > 0) return leases;
    }
    return [];
  }

  /** What was dropped and nobody has leased is not leased any more. */
  async #passOver(positions: readonly number[]): Promise<void> {
    for (const { position, from, to } of await new PassedOver(this.#context.pool).passShared(positions)) {
      const partition = this.#partitionOf.get(position);
      this.#context.logger.log("warn", "messages were dropped before this group had begun them: the topic was full", {
        ...this.#names(),
        partition,
        messages: to - from,
        to,
      });
    }
  }

  /** Positions that may have more, in turn. */
  #nextPositions(count: number): readonly number[] {
    const all = [...this.#partitionOf.keys()];
    const chosen: number[] = [];
    for (let steps = 0; steps < all.length && chosen.length < count; steps += 1) {
      const position = all[this.#turn % all.length];
      this.#turn += 1;
      if (position !== undefined && this.#hopeful.has(position)) chosen.push(position);
    }
    return chosen;
  }

  #hold(lease: Lease): LeasedRange {
    const { consumer } = this;
    const acknowledgeNow = (range: LeasedRange) => this.#writer.writeNow(range);
    const expiryOf = (range: LeasedRange) => this.#expiry.ofRange(range);
    const partition = this.#partitionOf.get(lease.position) ?? -1;
    const range = new LeasedRange(
      { consumer, handler: this.#handler, services: this.#context, expiryOf, acknowledgeNow },
      partition,
      lease,
    );
    this.#writer.add(range);
    return range;
  }

  /** Reads a range and hands its messages over. That takes as long as handlers do, so it looks how the group stands meanwhile. Never rejects. */
  async #fill(range: LeasedRange): Promise<void> {
    for await (const batch of this.#reader.batchesOf(range)) {
      await turns.begin();
      const to = Math.min(batch.count, range.to - batch.baseOffset);
      for (let index = Math.max(0, range.from - batch.baseOffset); index < to; index += 1) {
        if (range.isDone(batch.baseOffset + index)) continue;
        while (this.#hands.isFull && !this.#stopped) await this.#lookWhenDue(this.#wait());
        if (this.#stopped || range.isOver) return;
        this.#hands.add(range, batch, index);
        // Handlers that do not wait never fill the hands, and may take long, too.
        if (turns.isOver) await this.#lookWhenDue(turns.next());
      }
    }
  }

  async #lookWhenDue(waiting: Promise<void>): Promise<void> {
    await waiting;
    if (this.#lookout.isDue && !this.#stopped) await this.#tryTo("looking how the group stands", () => this.#look());
  }

  /** For what is done again anyway: its failure must not keep ranges that are held from being handed over. */
  async #tryTo(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#context.logger.log("warn", `${what} failed and is tried again`, {
        ...this.#names(),
        error: toError(error),
      });
    }
  }

  #afterVerdict(verdict: SharedVerdict): void {
    if (verdict === "pause") {
      this.#context.logger.log("warn", "the group pauses in this topic until it is resumed", this.#names());
      // At once; what the database says of it is heard at the next look.
      this.#lookout.pause(new Set(this.#positionOf.keys()));
      this.wakeToLook();
    } else if (verdict !== "stopped" && verdict.retryInMs !== undefined) {
      if (verdict.isRedriven) this.#claims.ringRedriven(verdict.retryInMs);
      else this.#claims.ringFailed(verdict.retryInMs);
    }
  }

  #names(): { topic: string; group: string } {
    return { topic: this.entry.name, group: this.consumer.group };
  }
}
