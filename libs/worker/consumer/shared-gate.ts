import type { ReadBatch } from "@sluice/log";
import { keyAt } from "../batch-record.ts";
import type { RateLimiter } from "./rate-limiter.ts";

/** A message that comes to the gate. */
export interface GatedTask {
  readonly owner: { readonly partition: number };
  readonly batch: ReadBatch;
  readonly index: number;
  /** Whether the pace allows it. */
  hasTurn: boolean;
}

/** What a gate works with. */
export interface SharedGateContext<Task extends GatedTask> {
  /** Absent: as fast as it goes. It may be one that says so at present, and says otherwise later. */
  readonly rateLimiter: RateLimiter | undefined;
  /** The task gives its place to others, and comes again by `resume`. */
  readonly putOff: (task: Task) => void;
  readonly resume: (task: Task) => void;
  /** Its turn has come, and it still has its place. */
  readonly begin: (task: Task) => void;
}

/** What keeps a message of a shared group from its handler when it has a place: its partition is paused, the hours are over, or it is not its turn yet. */
export class SharedGate<Task extends GatedTask> {
  readonly #context: SharedGateContext<Task>;
  readonly #stopping = new AbortController();
  #paused: ReadonlySet<number> = new Set();
  #isClosed = false;
  #parked: Task[] = [];
  #waitingForKey = 0;

  constructor(context: SharedGateContext<Task>) {
    this.#context = context;
  }

  /** Messages of partitions that are paused, or that the hours hold back: they take no room from others. */
  get parked(): number {
    return this.#parked.length;
  }

  /** Messages that wait for their key's pace: others go on meanwhile. */
  get waitingForKey(): number {
    return this.#waitingForKey;
  }

  /** Which partitions are paused at present. */
  heed(paused: ReadonlySet<number>): void {
    this.#paused = paused;
    this.#letGo();
  }

  /** Whether the consumer's hours are over at present. */
  heedHours(areOver: boolean): void {
    this.#isClosed = areOver;
    this.#letGo();
  }

  /** Whether a task that has a place may not begin. The gate sees to it from here on. */
  holds(task: Task): boolean {
    if (this.#keepsBack(task)) {
      // Its turn is not kept for it: by the time that it may begin there may be another pace.
      task.hasTurn = false;
      this.#parked.push(task);
      this.#context.putOff(task);
      return true;
    }
    const { rateLimiter } = this.#context;
    if (rateLimiter?.isOn !== true || task.hasTurn) return false;
    void this.#waitForTurn(task, rateLimiter);
    return true;
  }

  /** Begins nothing any more. */
  stop(): void {
    this.#stopping.abort();
  }

  #keepsBack({ owner }: Task): boolean {
    return this.#isClosed || (this.#paused.size > 0 && this.#paused.has(owner.partition));
  }

  #letGo(): void {
    const parked = this.#parked;
    this.#parked = parked.filter((task) => this.#keepsBack(task));
    for (const task of parked) if (!this.#keepsBack(task)) this.#context.resume(task);
  }

  /**
   * Whoever waits for the whole group's pace keeps the place, for nobody else could use it; who waits for the key's gives it to others.
   * When another pace comes into force meanwhile, it asks for a place and a turn anew: there may be fewer of both.
   */
  async #waitForTurn(task: Task, rateLimiter: RateLimiter): Promise<void> {
    const { signal } = this.#stopping;
    const { isPerKey } = rateLimiter;
    const turn = await rateLimiter.reserve(isPerKey ? keyAt(task.batch, task.index) : null, signal);
    if (signal.aborted) return;
    const givesPlace = isPerKey && turn.at > performance.now();
    if (givesPlace) {
      this.#waitingForKey += 1;
      this.#context.putOff(task);
    }
    await rateLimiter.over(turn, signal);
    if (givesPlace) this.#waitingForKey -= 1;
    if (signal.aborted) return;
    task.hasTurn = rateLimiter.holds(turn);
    if (!givesPlace && task.hasTurn) {
      this.#context.begin(task);
      return;
    }
    if (!givesPlace) this.#context.putOff(task);
    this.#context.resume(task);
  }
}
