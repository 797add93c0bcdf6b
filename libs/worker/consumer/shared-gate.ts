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
  /** Absent: as fast as it goes. */
  readonly rateLimiter: RateLimiter | undefined;
  /** The task gives its place to others, and comes again by `resume`. */
  readonly putOff: (task: Task) => void;
  readonly resume: (task: Task) => void;
  /** Its turn has come, and it still has its place. */
  readonly begin: (task: Task) => void;
}

/** What keeps a message of a shared group from its handler when it has a place: its partition is paused, or it is not its turn yet. */
export class SharedGate<Task extends GatedTask> {
  readonly #context: SharedGateContext<Task>;
  readonly #stopping = new AbortController();
  #paused: ReadonlySet<number> = new Set();
  #parked: Task[] = [];
  #waitingForKey = 0;

  constructor(context: SharedGateContext<Task>) {
    this.#context = context;
  }

  /** Messages of partitions that are paused: they take no room from others. */
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
    const parked = this.#parked;
    this.#parked = parked.filter((task) => paused.has(task.owner.partition));
    for (const task of parked) if (!paused.has(task.owner.partition)) this.#context.resume(task);
  }

  /** Whether a task that has a place may not begin. The gate sees to it from here on. */
  holds(task: Task): boolean {
    if (this.#paused.size > 0 && this.#paused.has(task.owner.partition)) {
      this.#parked.push(task);
      this.#context.putOff(task);
      return true;
    }
    const { rateLimiter } = this.#context;
    if (rateLimiter === undefined || task.hasTurn) return false;
    void (rateLimiter.isPerKey ? this.#waitForKey(task, rateLimiter) : this.#waitInLine(task, rateLimiter));
    return true;
  }

  /** Begins nothing any more. */
  stop(): void {
    this.#stopping.abort();
  }

  /** Whoever waits for the whole group's pace keeps the place: nobody else could use it. */
  async #waitInLine(task: Task, rateLimiter: RateLimiter): Promise<void> {
    const { signal } = this.#stopping;
    if (!(await rateLimiter.untilTurn(null, signal, () => Promise.resolve(true)))) return;
    task.hasTurn = true;
    this.#context.begin(task);
  }

  async #waitForKey(task: Task, rateLimiter: RateLimiter): Promise<void> {
    const { signal } = this.#stopping;
    const turn = await rateLimiter.reserve(keyAt(task.batch, task.index), signal);
    if (signal.aborted) return;
    if (turn.at <= performance.now()) {
      task.hasTurn = true;
      this.#context.begin(task);
      return;
    }
    this.#waitingForKey += 1;
    this.#context.putOff(task);
    await rateLimiter.over(turn, signal);
    this.#waitingForKey -= 1;
    if (signal.aborted) return;
    task.hasTurn = rateLimiter.holds(turn);
    this.#context.resume(task);
  }
}
