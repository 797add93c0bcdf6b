import { laneOf } from "@sluice/contract";
import type { JoinedConsumer } from "../worker-context.ts";

/** What a queue of tasks knows of the lane that it is. */
export interface QueueLane {
  /** The queue is there; `beginReady` begins its tasks that are ready, as long as the lane has a place. */
  opened(beginReady: () => void): void;
  /** The queue begins nothing any more: its places and keys are free. */
  closed(): void;
  /** Lets all lanes begin what they may, the most urgent first. */
  begin(): void;
  /** The lanes have so many places from now on, all together. */
  limitTo(places: number): void;
  /** Whether another task may begin. */
  readonly hasPlace: boolean;
  /**
   * Takes a place for a task of a key. False when a task of that key runs in another lane: `whenFree` is called when that
   * has ended, and {@link begin} afterwards.
   */
  take(key: string | null, whenFree: () => void): boolean;
  /** A task gave its place back: it is over, or put off. */
  left(key: string | null): void;
}

interface HeldKey {
  readonly by: GateLane;
  readonly waiting: { readonly lane: GateLane; readonly whenFree: () => void }[];
}

/**
 * The lanes of one partition in the process that owns it: they share its places, never have two tasks of one key at once, and a
 * lane begins something only while no more urgent one has anything that could begin. What waits for another attempt does not count, nor
 * does a lane that is paused.
 */
export class LaneGate {
  #places: number;
  readonly #onEmpty: () => void;
  /** The most urgent first. */
  readonly #lanes: GateLane[] = [];
  readonly #keys = new Map<string, HeldKey>();
  #isBeginning = false;
  #mayMore = false;

  constructor(places: number, onEmpty: () => void = () => {}) {
    this.#places = places;
    this.#onEmpty = onEmpty;
  }

  /** A lane for one queue. */
  lane(priority: number): QueueLane {
    return new GateLane(this, priority);
  }

  limitTo(places: number): void {
    this.#places = places;
  }

  get hasPlace(): boolean {
    return this.#lanes.reduce((sum, lane) => sum + lane.running, 0) < this.#places;
  }

  enter(lane: GateLane): void {
    this.#lanes.push(lane);
    this.#lanes.sort((a, b) => b.priority - a.priority);
  }

  leave(lane: GateLane): void {
    const at = this.#lanes.indexOf(lane);
    if (at < 0) return;
    this.#lanes.splice(at, 1);
    for (const [key, held] of this.#keys) if (held.by === lane) this.free(key, lane);
    if (this.#lanes.length === 0) this.#onEmpty();
    // Not at once: lanes that are given back together are closed one after the other.
    else queueMicrotask(() => this.begin());
  }

  begin(): void {
    this.#mayMore = true;
    // A task that begins may put another in line: the loop that is under way comes to it.
    if (this.#isBeginning) return;
    this.#isBeginning = true;
    try {
      while (this.#mayMore) {
        this.#mayMore = false;
        for (const lane of [...this.#lanes]) lane.beginReady();
      }
    } finally {
      this.#isBeginning = false;
    }
  }

  hold(key: string, lane: GateLane, whenFree: () => void): boolean {
    const held = this.#keys.get(key);
    if (held === undefined) this.#keys.set(key, { by: lane, waiting: [] });
    else if (held.by !== lane) {
      held.waiting.push({ lane, whenFree });
      return false;
    }
    return true;
  }

  free(key: string, lane: GateLane): void {
    const held = this.#keys.get(key);
    if (held?.by !== lane) return;
    this.#keys.delete(key);
    for (const { lane: waiting, whenFree } of held.waiting) if (this.#lanes.includes(waiting)) whenFree();
  }
}

class GateLane implements QueueLane {
  readonly priority: number;
  readonly #gate: LaneGate;
  #beginReady: (() => void) | undefined;
  #running = 0;

  constructor(gate: LaneGate, priority: number) {
    this.#gate = gate;
    this.priority = priority;
  }

  get running(): number {
    return this.#running;
  }

  limitTo(places: number): void {
    this.#gate.limitTo(places);
  }

  get hasPlace(): boolean {
    return this.#gate.hasPlace;
  }

  opened(beginReady: () => void): void {
    this.#beginReady = beginReady;
    this.#gate.enter(this);
  }

  closed(): void {
    this.#beginReady = undefined;
    this.#gate.leave(this);
  }

  beginReady(): void {
    this.#beginReady?.();
  }

  begin(): void {
    this.#gate.begin();
  }

  take(key: string | null, whenFree: () => void): boolean {
    if (key !== null && !this.#gate.hold(key, this, whenFree)) return false;
    this.#running += 1;
    return true;
  }

  left(key: string | null): void {
    this.#running -= 1;
    if (key !== null) this.#gate.free(key, this);
  }
}

/** The gates of a process: one for each partition with several lanes of which it owns some, per group. */
export class LaneGates {
  readonly #gates = new Map<string, LaneGate>();

  /** The lane of a partition of the log; `undefined` where there are no priorities, and in a broadcast, whose lanes lie side by side. */
  of({ consumer, entry, group }: JoinedConsumer, partition: number): QueueLane | undefined {
    if (entry.priorities === 1 || consumer.mode !== "keyed" || consumer.instance !== null) return undefined;
    const { base, priority } = laneOf(partition, entry);
    const name = `${group} ${entry.number} ${base}`;
    const gate = this.#gates.get(name) ?? new LaneGate(consumer.concurrency, () => this.#gates.delete(name));
    this.#gates.set(name, gate);
    return gate.lane(priority);
  }
}
