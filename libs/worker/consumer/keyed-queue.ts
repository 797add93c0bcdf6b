import type { QueueLane } from "./lane-gate.ts";
import { Line } from "./line.ts";

/** Something to be done for a key. Tasks of one key run one after the other, `null` keys side by side. */
export interface KeyedTask {
  readonly key: string | null;
}

/**
 * Runs up to `concurrency` tasks at a time, never two of one key, each key's in the order in which they came. A task that
 * is put off keeps its key waiting but gives its place to others; when it is resumed, it and those that are new take turns, so that
 * neither waits for all of the other. Queues that are lanes of one partition share its places and keys, and the more urgent one goes first.
 */
export class KeyedQueue<Task extends KeyedTask> {
  #concurrency: number;
  readonly #start: (task: Task) => void;
  readonly #lane: QueueLane | undefined;
  /** Tasks that wait behind one of their key which runs or is put off. */
  readonly #behind = new Map<string, Task[]>();
  readonly #ready = new Line<Task>();
  /** Those that were put off. */
  readonly #resumed = new Line<Task>();
  /** Those that go before all others. */
  readonly #first = new Line<Task>();
  #isResumedNext = true;
  #running = 0;
  #stopped = false;
  readonly #heldBy = new Set<"pause" | "alone">();
  #held = false;

  /**
   * @param start begins a task; it ends with `finished` or `putOff`, never synchronously
   * @param lane where it shares its places with others; their concurrency counts then. Default: it is alone
   */
  constructor(concurrency: number, start: (task: Task) => void, lane?: QueueLane) {
    this.#concurrency = concurrency;
    this.#start = start;
    this.#lane = lane;
    lane?.opened(() => this.#beginReady());
  }

  add(task: Task): void {
    if (task.key !== null) {
      const behind = this.#behind.get(task.key);
      if (behind !== undefined) {
        behind.push(task);
        return;
      }
      this.#behind.set(task.key, []);
    }
    this.#ready.push(task);
    this.#pump();
  }

  /** Runs a task before all that wait: one without a key, or one that was put off and so still has its key. */
  addFirst(task: Task): void {
    this.#first.push(task);
    this.#pump();
  }

  /** A task is over: the next of its key may run. */
  finished(task: Task): void {
    this.#leavePlace(task);
    this.freeKey(task);
  }

  /** A task that was put off is over: the next of its key may run. */
  freeKey(task: Task): void {
    if (task.key !== null) {
      const next = this.#behind.get(task.key)?.shift();
      if (next === undefined) this.#behind.delete(task.key);
      else this.#ready.push(next);
    }
    this.#pump();
  }

  /** Takes in a task that waits already, as if it had been put off: its key waits until it is resumed and over. */
  keepKey(task: Task): void {
    if (task.key !== null && !this.#behind.has(task.key)) this.#behind.set(task.key, []);
  }

  /** A task does not run any more but is not over: others may take its place, its key waits. */
  putOff(task: Task): void {
    this.#leavePlace(task);
    this.#pump();
  }

  /** A task that was put off is to run again. */
  resume(task: Task): void {
    this.#resumed.push(task);
    this.#pump();
  }

  /** Runs so many at a time from now on. With fewer than before, none is begun until enough of those that run are over. */
  limitTo(concurrency: number): void {
    this.#concurrency = concurrency;
    this.#lane?.limitTo(concurrency);
    this.#pump();
  }

  /** Begins nothing until {@link letGo}, and that for each who holds it. */
  hold(by: "pause" | "alone" = "pause"): void {
    this.#heldBy.add(by);
    this.#held = true;
  }

  /** Goes on after {@link hold}, unless another holds it. */
  letGo(by: "pause" | "alone" = "pause"): void {
    if (!this.#heldBy.delete(by) || this.#heldBy.size > 0) return;
    this.#held = false;
    this.#pump();
  }

  /** Begins nothing any more. */
  stop(): void {
    this.#stopped = true;
    this.#lane?.closed();
  }

  #leavePlace(task: Task): void {
    this.#running -= 1;
    this.#lane?.left(task.key);
  }

  #pump(): void {
    if (this.#lane === undefined) this.#beginReady();
    else this.#lane.begin();
  }

  get #hasPlace(): boolean {
    return this.#lane === undefined ? this.#running < this.#concurrency : this.#lane.hasPlace;
  }

  /** The line whose turn it is; an empty one when there is nothing. */
  get #nextLine(): Line<Task> {
    if (!this.#first.isEmpty) return this.#first;
    if (this.#resumed.isEmpty) return this.#ready;
    if (this.#ready.isEmpty) return this.#resumed;
    this.#isResumedNext = !this.#isResumedNext;
    return this.#isResumedNext ? this.#resumed : this.#ready;
  }

  #beginReady(): void {
    while (!this.#stopped && !this.#held && this.#hasPlace) {
      const line = this.#nextLine;
      if (line.isEmpty) return;
      const task = line.shift();
      if (this.#lane?.take(task.key, () => line.push(task)) === false) continue;
      this.#running += 1;
      this.#start(task);
    }
  }
}
