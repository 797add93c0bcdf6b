import {
  DatabaseClock,
  type Duty,
  type GroupPosition,
  type LeavingReason,
  PassedOver,
  parseRing,
  RedrivenMessages,
  Retries,
  removeDeadMembers,
} from "@sluice/broker";
import { isSluiceError, Signal, type SluiceError, toError } from "@sluice/kernel";
import type { Presence } from "@sluice/store";
import { assignedTo } from "./assigned-to.ts";
import { GatheredRetries } from "./consumer/gathered-retries.ts";
import { leastReserve } from "./consumer/hand-out-reserve.ts";
import { IdleReport } from "./consumer/idle-report.ts";
import { LaneGates } from "./consumer/lane-gate.ts";
import { Paces } from "./consumer/paces.ts";
import { PartitionConsumer } from "./consumer/partition-consumer.ts";
import { PositionWriter } from "./consumer/position-writer.ts";
import { isAssigned, UnassignedConsumers } from "./consumer/unassigned-consumers.ts";
import { dutyOfRing, standForDuties } from "./duties.ts";
import { beat } from "./heartbeat.ts";
import { Membership } from "./membership.ts";
import { openPresence } from "./open-presence.ts";
import { OwnPause } from "./own-pause.ts";
import { StageRunner } from "./stage/stage-runner.ts";
import type { JoinedConsumer, WorkerContext, WorkerOptions } from "./worker-context.ts";

/** How often members look at who lives: a crashed one's partitions move within this and a little. */
const surveyMs = 500;
const reconnectMs = 250;

/**
 * All consumers of a process over one session connection: takes part in their groups, owns the partitions that are assigned
 * to it, and stands for the duties that one process does for all. When the session is lost, everything it owned is
 * void: it begins again as a new member.
 */
export class Worker {
  readonly #context: WorkerContext;
  readonly #options: WorkerOptions;
  readonly #joined: JoinedConsumer[];
  readonly #membership: Membership;
  readonly #unassigned: UnassignedConsumers;
  readonly #idle: IdleReport;
  readonly #owned = new Map<number, PartitionConsumer>();
  /** On their way to others: what was begun ends, and nothing else waits for it. */
  readonly #leaving = new Map<PartitionConsumer, Promise<void>>();
  readonly #survey = new Signal();
  readonly #writer: PositionWriter;
  readonly #gathered: GatheredRetries;
  readonly #paces: Paces;
  readonly #ownPause: OwnPause;
  readonly #lanes = new LaneGates();
  readonly #databaseClock: DatabaseClock;
  readonly #started = Promise.withResolvers<void>();
  readonly #fenced = Promise.withResolvers<SluiceError>();
  readonly #run: Promise<void>;
  #session: Presence | undefined;
  #duties: readonly Duty[] = [];
  #closed = false;
  #isStarted = false;

  constructor(context: WorkerContext, joined: readonly JoinedConsumer[], options: WorkerOptions) {
    this.#context = context;
    this.#joined = [...joined];
    this.#options = options;
    this.#membership = new Membership(options);
    this.#databaseClock = new DatabaseClock(context.pool);
    this.#idle = new IdleReport(context.logger);
    this.#writer = new PositionWriter(context.groups, context.logger, () => this.#owned.values());
    this.#gathered = new GatheredRetries(new Retries(context.pool));
    this.#paces = new Paces({ ...context, databaseClock: this.#databaseClock }, (pace) => {
      for (const owned of this.#owned.values()) if (owned.pace === pace) owned.heedPace();
      this.#unassigned.heedPace(pace);
    });
    this.#unassigned = new UnassignedConsumers(context, this.#joined, options.leaseMs, this.#paces);
    this.#ownPause = new OwnPause(context.logger);
    this.#run = this.#live().finally(() => this.#paces.end());
  }

  /** Resolves once it is a member and has taken the partitions that are free for it. Rejects if it cannot become one. */
  get started(): Promise<void> {
    return this.#started.promise;
  }

  /** Resolves when another process has become the static member that this one was: it has ended, and consumes no more. */
  get fenced(): Promise<SluiceError> {
    return this.#fenced.promise;
  }

  /** The partitions it owns at the moment. */
  get owned(): readonly PartitionConsumer[] {
    return [...this.#owned.values()];
  }

  /** Consumes this, too: its partitions are taken as soon as the members have looked at each other. */
  join(joined: JoinedConsumer): void {
    this.#joined.push(joined);
    this.#survey.raise();
  }

  /**
   * Stops: begins nothing more, gives handlers `drainMs`, writes positions, gives partitions back and leaves. Resolves with
   * whether every handler finished in time; what did not finish will be handed over again.
   */
  async close(): Promise<boolean> {
    this.#closed = true;
    const { drainMs } = this.#options;
    const ended = await Promise.all([this.#drain([...this.#owned.values()]), this.#unassigned.end(drainMs)]);
    this.#survey.raise();
    await this.#run;
    // What the term had just begun when the end came.
    await this.#unassigned.end(0);
    return ended.every(Boolean);
  }

  async #live(): Promise<void> {
    let isFirst = true;
    while (!this.#closed) {
      try {
        await this.#term(isFirst);
      } catch (error) {
        if (isFirst) {
          this.#closed = true;
          this.#started.reject(error);
          return;
        }
        if (isSluiceError(error, "FENCED") && this.#membership.isStatic) {
          this.#context.logger.log("error", "this process consumes no more: another is its static member", { error });
          this.#closed = true;
          this.#fenced.resolve(error);
          break;
        }
        this.#context.logger.log("warn", "the worker's session failed; it begins again as a new member", {
          error: toError(error),
        });
        await new Promise<void>((resolve) => this.#context.clock.after(reconnectMs, resolve));
      }
      isFirst = false;
    }
    this.#started.resolve();
  }

  /** One session, from becoming a member to leaving. */
  async #term(isFirst: boolean): Promise<void> {
    const { name, leaseMs } = this.#options;
    const lost = Promise.withResolvers<void>();
    const session = await openPresence({
      ...this.#context,
      applicationName: `sluice ${name}`,
      leaseMs,
      onNotify: (payload) => this.#heard(payload),
      onLost: () => lost.resolve(),
    });
    this.#session = session;
    let stopHeartbeat = () => {};
    try {
      const member = await this.#membership.begin(session);
      await this.#ownPause.begin(session, member);
      await this.#subscribe(session, member);
      stopHeartbeat = beat(session, member, { ...this.#options, ...this.#context });
      if (!this.#closed) await this.#unassigned.begin(member, this.#ownPause.isOn);
      this.#duties = standForDuties(session, member, this.#options.name, this.#context);
      if (isFirst) this.#context.logger.log("info", "the worker is a member", { member, name });
      const owning = this.#ownUntilEnd(session, member, isFirst);
      // Once it has started, nothing waits for an answer that is due when the session goes: the database may have fallen silent as a whole.
      await Promise.race([owning, lost.promise.then(() => (this.#isStarted ? undefined : owning))]);
      if (session.isOpen) await this.#leave(session, member, stopHeartbeat);
    } finally {
      stopHeartbeat();
      await this.#abandon();
      await session.close();
      await Promise.all(this.#duties.map((duty) => duty.stop()));
      this.#duties = [];
    }
  }

  /** Owns what is assigned, until the session is lost or the worker closed. */
  async #ownUntilEnd(session: Presence, member: number, isFirst: boolean): Promise<void> {
    let nextPoll = 0;
    while (session.isOpen && !this.#closed) {
      try {
        await this.#reassign(session, member);
        const now = this.#context.clock.now();
        if (now >= nextPoll) {
          await this.#poll();
          nextPoll = now + this.#options.pollMs;
        }
      } catch (error) {
        if (isFirst && !this.#isStarted) throw error;
        if (!session.isOpen) break;
        const trouble = "looking after the groups failed and is tried again";
        this.#context.logger.log("warn", trouble, { error: toError(error) });
      }
      this.#started.resolve();
      this.#isStarted = true;
      if (!session.isOpen) return;
      await this.#survey.wait(Math.min(surveyMs, this.#options.pollMs));
    }
  }

  /** Takes part for what was joined since the last look, and tells the others. */
  async #subscribe(session: Presence, member: number): Promise<void> {
    const { doorbell } = this.#context;
    await this.#membership.subscribe(session, member, this.#joined, (group) => doorbell.ringGroup(group));
  }

  async #reassign(session: Presence, member: number): Promise<void> {
    await this.#subscribe(session, member);
    if ((await this.#ownPause.look(this.#context.pool, member)) && session.isOpen) {
      if (this.#ownPause.isOn) await this.#unassigned.endSharing(this.#options.drainMs);
      else if (!this.#closed) await this.#unassigned.begin(member);
    }
    await this.#paces.look(this.#joined, member);
    const assigned = this.#joined.filter(({ consumer }) => isAssigned(consumer));
    const numbers = [...new Set(assigned.map(({ group }) => group))];
    if (numbers.length === 0) return;
    const surveyedAt = performance.now();
    const { subscriptions, positions } = await this.#context.groups.survey(numbers);
    if (!session.isOpen) return;
    this.#paces.heedReleases(assigned, positions);
    const mine = assignedTo(member, positions, subscriptions);
    if (!this.#ownPause.isOn) this.#idle.note(assigned, [...mine.values()], subscriptions);
    for (const owned of this.#owned.values()) {
      const now = mine.get(owned.position);
      // Moved by somebody (an epoch of its own), or resumed after it had paused itself: taken anew, from where it is now.
      if (now === undefined) this.#letGo(session, owned, this.#ownPause.isOn ? "pause" : "rebalance");
      else if (now.epoch > owned.epoch || (!now.paused && owned.pause.wasOfItselfBefore(surveyedAt)))
        this.#letGo(session, owned, "reset");
    }
    const missing = [...mine.values()].filter((position) => !this.#owned.has(position.position));
    await Promise.all(missing.map((position) => this.#take(session, member, position)));
    if (!session.isOpen) return;
    for (const position of mine.values()) this.#owned.get(position.position)?.heed(position);
    if (positions.some(({ owner }) => owner !== null && !subscriptions.some((live) => live.member === owner))) {
      await removeDeadMembers(this.#context.pool);
    }
  }

  async #take(session: Presence, member: number, position: GroupPosition): Promise<void> {
    const joined = this.#joined.find(
      ({ group, entry, consumer }) =>
        group === position.group && entry.number === position.topic && isAssigned(consumer),
    );
    if (joined === undefined || !(await session.tryLock("owner", position.position))) return;
    try {
      const taken = await this.#context.groups.take(position.position, member, leastReserve);
      if (this.#closed || !session.isOpen) {
        // The end came in between: give it back at once, so that nobody has to wait for it.
        const { isStatic } = this.#membership;
        await this.#context.groups.release([{ ...position, epoch: taken.epoch }], "leave", isStatic);
        if (session.isOpen) await session.unlock("owner", position.position);
        return;
      }
      const home = { partition: position.partition, position: position.position, epoch: taken.epoch };
      const runner =
        joined.stage === undefined ? undefined : new StageRunner(joined.stage, { ...this.#context, ...home });
      const consumer: PartitionConsumer = new PartitionConsumer(
        {
          ...this.#context,
          gathered: this.#gathered,
          redriven: new RedrivenMessages(this.#context.pool),
          passedOver: new PassedOver(this.#context.pool),
          databaseClock: this.#databaseClock,
          commitNow: () => this.#writer.writeNow(consumer),
          onFenced: () => this.#forget(consumer),
        },
        {
          ...position,
          ...joined,
          ...this.#paces.of(joined),
          lane: this.#lanes.of(joined, position.partition),
          ...(runner === undefined ? {} : { consumer: runner.consumer, runner }),
        },
        taken,
      );
      this.#owned.set(position.position, consumer);
      this.#writer.start();
      const place = { group: joined.consumer.group, topic: joined.entry.name, partition: position.partition };
      const { epoch, nextOffset: from } = taken;
      this.#context.logger.log("debug", "partition taken", { ...place, epoch, from });
    } catch (error) {
      if (session.isOpen) await session.unlock("owner", position.position);
      // Somebody has it who locks nothing, or locks what this member cannot lock; the next look shows when it is free.
      if (isSluiceError(error, "FENCED")) return;
      throw error;
    }
  }

  /** Hands a partition to others, beside everything else: its handlers may take long to end, and nothing is to wait for them. */
  #letGo(session: Presence, consumer: PartitionConsumer, why: LeavingReason): void {
    if (this.#leaving.has(consumer)) return;
    const left = this.#giveBack(session, [consumer], why).catch((error: unknown) => {
      this.#context.logger.log("warn", "a partition was not given back in order", { error: toError(error) });
    });
    this.#leaving.set(
      consumer,
      left.finally(() => {
        this.#leaving.delete(consumer);
        this.#survey.raise();
      }),
    );
  }

  /** Hands partitions over: drained, committed, released, unlocked, and their groups told. */
  async #giveBack(session: Presence, consumers: readonly PartitionConsumer[], why: LeavingReason): Promise<void> {
    if (consumers.length === 0) return;
    await this.#drain(consumers);
    for (const one of consumers) if (this.#owned.get(one.position) === one) this.#owned.delete(one.position);
    try {
      await this.#context.groups.release(consumers, why, why === "leave" && this.#membership.isStatic);
    } finally {
      // The locks are what others wait for; the rows only tell who it was.
      if (session.isOpen) await Promise.all(consumers.map(({ position }) => session.unlock("owner", position)));
      for (const group of new Set(consumers.map((one) => one.group))) this.#context.doorbell.ringGroup(group);
    }
  }

  /** Stops consumers within the deadline and writes how far they came. */
  async #drain(consumers: readonly PartitionConsumer[]): Promise<boolean> {
    const inTime = await Promise.all(consumers.map((consumer) => consumer.stop(this.#options.drainMs)));
    if (!inTime.every(Boolean)) {
      this.#context.logger.log("warn", "handlers did not finish in time; their messages will be handed over again", {
        drainMs: this.#options.drainMs,
        partitions: inTime.filter((done) => !done).length,
      });
    }
    try {
      await this.#writer.write(consumers);
    } catch (error) {
      const trouble = "positions could not be written; what was done since will be handed over again";
      this.#context.logger.log("warn", trouble, { error: toError(error) });
    }
    return inTime.every(Boolean);
  }

  async #leave(session: Presence, member: number, stopHeartbeat: () => void): Promise<void> {
    await this.#membership.beginLeaving(session, member);
    await Promise.all(this.#leaving.values());
    await this.#giveBack(session, [...this.#owned.values()], "leave");
    await Promise.all(this.#duties.map((duty) => duty.stop()));
    stopHeartbeat();
    await this.#membership.leave(session, member);
    this.#ringGroups();
    await this.#context.doorbell.idle();
  }

  /** The session is gone, and every lock with it: stop, and let handlers end before the same partitions may be taken again. */
  async #abandon(): Promise<void> {
    const owned = [...this.#owned.values()];
    this.#owned.clear();
    await Promise.all([this.#drain(owned), this.#unassigned.endSharing(this.#options.drainMs)]);
    await Promise.all(this.#leaving.values());
    await this.#writer.stop();
  }

  #forget(consumer: PartitionConsumer): void {
    const { partition, epoch } = consumer;
    const names = { group: consumer.consumer.group, topic: consumer.entry.name, partition, epoch };
    this.#context.logger.log("warn", "a partition has another owner; what it had in flight here is void", names);
    if (this.#owned.get(consumer.position) === consumer) this.#owned.delete(consumer.position);
    const session = this.#session;
    if (session?.isOpen) session.unlock("owner", consumer.position).catch(() => this.#survey.raise());
    this.#survey.raise();
  }

  #heard(payload: string): void {
    const ring = parseRing(payload);
    if (ring !== undefined) this.#unassigned.heard(ring);
    if (ring?.kind === "log") {
      for (const consumer of this.#owned.values()) {
        if (consumer.entry.number === ring.topic && ring.partitions.includes(consumer.partition)) consumer.wake();
      }
    } else if (ring?.kind === "redrive") {
      this.#owned.get(ring.position)?.redriven.ring();
    } else if (ring?.kind === "group") {
      if (this.#joined.some(({ group }) => group === ring.group)) this.#survey.raise();
    } else if (ring !== undefined) {
      this.#duties.find(({ name }) => name === dutyOfRing[ring.kind])?.wake();
    }
  }

  /** Wakes whoever has something to read, in case no doorbell told: doorbells are hints. */
  async #poll(): Promise<void> {
    this.#unassigned.poll();
    const consumers = [...this.#owned.values()];
    const places = consumers.map(({ entry, partition }) => ({ topic: entry.number, partition }));
    const ends = await this.#context.log.ends(places);
    for (const [index, consumer] of consumers.entries()) {
      if ((ends[index]?.end ?? 0) > consumer.fetchOffset) consumer.wake();
    }
  }

  #ringGroups(): void {
    for (const group of new Set(this.#joined.map((joined) => joined.group))) this.#context.doorbell.ringGroup(group);
  }
}
