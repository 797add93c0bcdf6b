import type { LogModel, Message } from "./log-model.ts";

/** A message that failed and waits to be handed over again, beside the log. */
export interface Retry {
  readonly message: Message;
  /** How often it was handed over. */
  attempt: number;
  /** `null`: it is in a handler's hands. */
  dueAt: number | null;
  /** What waits for it. */
  readonly blocks: "key" | "partition" | "nothing";
}

/** A message that its group gave up on. */
export interface Letter {
  readonly message: Message;
  readonly reason: "exhausted" | "rejected";
  readonly attempts: number;
  readonly redrives: number;
}

/** A message that its group handles once more, beside the log. */
export interface Redriven {
  readonly message: Message;
  readonly redrives: number;
  attempts: number;
}

/** What moving a position means. */
export interface Move {
  readonly partition: number;
  readonly from: number;
  readonly to: number;
  /** Messages that the group will not handle, and those that it handles once more. */
  readonly skipped: number;
  readonly repeated: number;
}

/**
 * How far a group is in a partition. Its owner has it under an epoch, and nothing is written under another: each method that takes one
 * answers `"fenced"`, and changes nothing, when that is not the epoch in force.
 */
export class PositionModel {
  readonly partition: number;
  /** Everything below is done. */
  next: number;
  /** Done above `next`, as the owner last wrote it. */
  noted = new Set<number>();
  /** Done in the handler's own transaction: nobody else's transaction may do it again. */
  marked = new Set<number>();
  epoch = 0;
  /** The member that took it last and has not given it back. */
  owner: string | null = null;
  /** The member whose session stands for it: nobody else takes it over meanwhile. A member that died or froze has lost its session. */
  heldBy: string | null = null;
  readonly retries = new Map<number, Retry>();
  readonly redriven = new Map<number, Redriven>();

  constructor(partition: number, next: number) {
    this.partition = partition;
    this.next = next;
  }

  /** A new owner begins where the position is, knowing what is done above it, and nobody before it can write any more. */
  take(member: string): { readonly epoch: number; readonly next: number; readonly done: ReadonlySet<number> } {
    this.epoch += 1;
    this.owner = member;
    this.heldBy = member;
    for (const offset of [...this.marked, ...this.retries.keys()]) if (offset >= this.next) this.noted.add(offset);
    this.marked = new Set([...this.marked].filter((offset) => offset >= this.next));
    return { epoch: this.epoch, next: this.next, done: new Set(this.noted) };
  }

  /** Gives it back, if it is still the caller's. */
  release(epoch: number): void {
    if (epoch === this.epoch) this.owner = null;
  }

  /** A position never goes back. */
  commit(epoch: number, next: number, done: ReadonlySet<number>): "committed" | "fenced" {
    if (epoch !== this.epoch || next < this.next) return "fenced";
    this.next = next;
    this.noted = new Set(done);
    this.marked = new Set([...this.marked].filter((offset) => offset >= next));
    return "committed";
  }

  /** In the transaction of a handler: done once, whoever asks how often. */
  markDone(epoch: number, offset: number): "done" | "already" | "fenced" {
    if (epoch !== this.epoch) return "fenced";
    const waited = this.retries.delete(offset);
    const isNew = offset >= this.next && !this.marked.has(offset);
    if (isNew) this.marked.add(offset);
    return waited || isNew ? "done" : "already";
  }

  /** A message is given up: decided as a transaction's mark is, so it is done or dead and never both. */
  bury(epoch: number, offset: number): "buried" | "already" | "fenced" {
    const outcome = this.markDone(epoch, offset);
    return outcome === "done" ? "buried" : outcome;
  }

  /**
   * A message failed for the first time: it leaves its place in the log, which counts as done while it waits. Only where a transaction of its
   * handler may have done it is that asked, and its place marked.
   */
  putOff(epoch: number, offset: number, retry: Retry, mayBeDone: boolean): "put off" | "already" | "fenced" {
    if (epoch !== this.epoch) return "fenced";
    if (mayBeDone && this.marked.has(offset)) return "already";
    if (mayBeDone) this.marked.add(offset);
    this.retries.set(offset, retry);
    return "put off";
  }

  /** It failed again. */
  putOffAgain(epoch: number, offset: number, attempt: number, dueAt: number): "put off" | "fenced" {
    const retry = this.retries.get(offset);
    if (epoch !== this.epoch || retry === undefined) return "fenced";
    retry.attempt = attempt;
    retry.dueAt = dueAt;
    return "put off";
  }

  /** An attempt counts before it is made, so that one which ends its process counts, too. */
  beginRetry(epoch: number, offset: number): number | "fenced" {
    const retry = this.retries.get(offset);
    if (epoch !== this.epoch || retry === undefined) return "fenced";
    retry.attempt += 1;
    retry.dueAt = null;
    return retry.attempt;
  }

  endRetry(epoch: number, offset: number): "over" | "fenced" {
    if (epoch !== this.epoch) return "fenced";
    this.retries.delete(offset);
    return "over";
  }

  beginRedriven(epoch: number, offset: number): number | "fenced" {
    const redriven = this.redriven.get(offset);
    if (epoch !== this.epoch || redriven === undefined) return "fenced";
    redriven.attempts += 1;
    return redriven.attempts;
  }

  endRedriven(epoch: number, offset: number): "done" | "fenced" {
    if (epoch !== this.epoch) return "fenced";
    this.redriven.delete(offset);
    return "done";
  }

  /** Somebody moves it: what was done or waited is forgotten, and whoever owned it does not any more. */
  move(wanted: number, log: LogModel): Move {
    const from = this.next;
    const to = Math.max(log.start(this.partition), Math.min(log.end(this.partition), wanted));
    const done = [...new Set([...this.noted, ...[...this.marked].filter((offset) => offset >= from)])];
    this.next = to;
    this.noted.clear();
    this.marked.clear();
    this.retries.clear();
    this.epoch += 1;
    const count = (test: (offset: number) => boolean) => done.filter(test).length;
    return {
      partition: this.partition,
      from,
      to,
      skipped: Math.max(to - from, 0) - count((offset) => offset < to),
      repeated: Math.max(Math.min(from, log.end(this.partition)) - to, 0) + count((offset) => offset >= to),
    };
  }
}

/** A group of consumers of the topic. */
export class GroupModel {
  readonly name: string;
  readonly positions: readonly PositionModel[];
  /** Retention keeps what it has not passed. */
  isProtected = false;
  /** What is paused: all of it, or a partition. */
  readonly pauses = new Set<number | "all">();
  /** By place: `partition/offset`. */
  readonly letters = new Map<string, Letter>();

  constructor(name: string, positions: readonly PositionModel[]) {
    this.name = name;
    this.positions = positions;
  }

  isPaused(partition: number): boolean {
    return this.pauses.has("all") || this.pauses.has(partition);
  }

  /** Keeps a message that is given up. One that was there before, from an earlier time at this place, stands. */
  bury(partition: number, offset: number, letter: Letter): void {
    const place = `${partition}/${offset}`;
    if (!this.letters.has(place)) this.letters.set(place, letter);
  }

  /** The letter leaves, and its message waits for the owner of its partition. */
  redrive(partition: number, offset: number): "redriven" | "waiting" | "gone" {
    const place = `${partition}/${offset}`;
    const letter = this.letters.get(place);
    const position = this.positions[partition];
    if (letter === undefined || position === undefined) return "gone";
    if (position.redriven.has(offset)) return "waiting";
    position.redriven.set(offset, { message: letter.message, redrives: letter.redrives + 1, attempts: 0 });
    this.letters.delete(place);
    return "redriven";
  }

  /** One message of the log once more. */
  consumeAgain(partition: number, offset: number, log: LogModel): "redriven" | "waiting" | "gone" {
    const message = log.at(partition, offset);
    const position = this.positions[partition];
    if (position === undefined || offset < log.start(partition)) return "gone";
    if (position.redriven.has(offset)) return "waiting";
    if (message === undefined) return "gone";
    position.redriven.set(offset, { message, redrives: 1, attempts: 0 });
    return "redriven";
  }
}

/**
 * What one owner knows, in the memory of its process: which position it took under which epoch, and what it has handled since. It may be
 * frozen and thaw, or believe that it owns what another has taken: then this is what it acts by.
 */
export class Claim {
  readonly group: GroupModel;
  readonly position: PositionModel;
  readonly member: string;
  readonly epoch: number;
  #next: number;
  readonly #done: Set<number>;

  constructor(group: GroupModel, position: PositionModel, member: string) {
    const { epoch, next, done } = position.take(member);
    this.group = group;
    this.position = position;
    this.member = member;
    this.epoch = epoch;
    this.#next = next;
    this.#done = new Set(done);
    this.#advance();
  }

  /** What it may hand over, per key in the order of the log: not what it knows to be done, nor what waits for a message that failed. */
  inHand(log: LogModel): number[] {
    const { partition, retries } = this.position;
    if (this.group.isPaused(partition)) return [];
    const waiting = [...retries.values()];
    if (waiting.some(({ blocks }) => blocks === "partition")) return [];
    const blocked = new Set(waiting.filter(({ blocks }) => blocks === "key").map(({ message }) => message.key));
    const ready: number[] = [];
    for (let offset = Math.max(this.#next, log.start(partition)); offset < log.end(partition); offset += 1) {
      const key = log.at(partition, offset)?.key ?? null;
      if (this.#done.has(offset) || (key !== null && blocked.has(key))) continue;
      ready.push(offset);
      blocked.add(key);
    }
    return ready;
  }

  /** It handled a message. */
  done(offset: number, log: LogModel): void {
    // Retention may have dropped what it never saw: as if that were done.
    this.#next = Math.max(this.#next, log.start(this.position.partition));
    this.#done.add(offset);
    this.#advance();
  }

  /** The position that it would write: the first message that is not done, and what is done above. */
  get progress(): { readonly next: number; readonly done: ReadonlySet<number> } {
    return { next: this.#next, done: new Set([...this.#done].filter((offset) => offset >= this.#next)) };
  }

  #advance(): void {
    while (this.#done.has(this.#next)) this.#next += 1;
  }
}
