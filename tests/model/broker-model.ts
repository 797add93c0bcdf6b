import { Claim, GroupModel, type Letter, type Move, PositionModel, type Redriven, type Retry } from "./group-model.ts";
import { type Call, type Draft, type Guard, LogModel, type Told } from "./log-model.ts";

/** A message that a transaction sent. */
interface Sent {
  readonly draft: Draft;
  readonly id: string;
  /** When it was sent, among all that were. */
  readonly number: number;
  /** In which transaction, in the order in which those sent first. */
  readonly transaction: number;
}

/** A message that comes later. */
export interface Delayed {
  readonly draft: Draft;
  readonly id: string;
  readonly dueAt: number;
}

/** A user's transaction: what it sends is sent when it commits, all of it, or never. */
export interface OpenTransaction {
  /** 0 until it sends. */
  order: number;
  readonly sent: Sent[];
  readonly delayed: Delayed[];
}

/** Where a group is moved to. */
export type Destination =
  | "earliest"
  | "latest"
  | { readonly offset: number }
  | { readonly hoursAgo: number }
  | { readonly by: number };

/**
 * The broker, as a specification: one topic, the groups that consume it, what is sent in transactions or for later, and a clock. It knows
 * nothing of tables, locks or connections; the test compares the real one with it after each command.
 */
export class BrokerModel {
  readonly log: LogModel;
  readonly groups = new Map<string, GroupModel>();
  /** Who took which position when, oldest first; most of them are fenced by now. */
  readonly claims: Claim[] = [];
  /** Hours since the run began. */
  now = 0;
  /** Users' transactions that are open. */
  readonly open: OpenTransaction[] = [];
  /** Sent in a transaction that committed, and not in the log yet. */
  #outbox: Sent[] = [];
  /** What came out of the outbox or came due while a bounded topic was full: it goes in before anything else does. */
  #held: { readonly draft: Draft; readonly id: string }[] = [];
  #delayed: Delayed[] = [];
  /** Every delayed message that there ever was. */
  readonly delayedIds: string[] = [];
  #sent = 0;
  #values = 0;
  #transactions = 0;
  /** Effects of handlers in the transactions in which their messages were done: `group/partition/offset`. */
  readonly effects: string[] = [];

  constructor(partitions: number) {
    this.log = new LogModel(partitions);
  }

  get delayed(): readonly Delayed[] {
    return this.#delayed;
  }

  get outbox(): number {
    return this.#outbox.length;
  }

  get held(): number {
    return this.#held.length;
  }

  /** What a bounded topic counts: messages that its slowest group has not passed; without a group all. */
  get depth(): number {
    return this.log.partitions.reduce((sum, _, partition) => {
      const positions = [...this.groups.values()].map((group) => group.positions[partition]?.next ?? 0);
      const slowest = positions.length === 0 ? this.log.start(partition) : Math.min(...positions);
      return sum + this.log.end(partition) - Math.max(this.log.start(partition), slowest);
    }, 0);
  }

  /** A value that no other message has. */
  newValue(): string {
    this.#values += 1;
    return `v${this.#values}`;
  }

  send(producer: number, drafts: readonly Draft[]): Call {
    const sequence = this.log.nextSequence(producer);
    const guarded = this.log.guard !== undefined;
    return this.log.append({ producer, sequence, drafts, at: this.now, guarded }, this.depth, this.now);
  }

  repeat(call: Call): readonly Told[] {
    return this.log.repeat(call, this.depth, this.now);
  }

  setGuard(guard: Guard): void {
    this.log.guard = guard;
  }

  begin(): OpenTransaction {
    const transaction: OpenTransaction = { order: 0, sent: [], delayed: [] };
    this.open.push(transaction);
    return transaction;
  }

  /** In a transaction; nobody sees anything of it yet. */
  sendWithin(transaction: OpenTransaction, draft: Draft, id: string, delay: number | null): void {
    if (transaction.order === 0) {
      this.#transactions += 1;
      transaction.order = this.#transactions;
    }
    this.#sent += 1;
    if (delay === null) transaction.sent.push({ draft, id, number: this.#sent, transaction: transaction.order });
    else {
      transaction.delayed.push({ draft, id, dueAt: this.now + delay });
      this.delayedIds.push(id);
    }
  }

  /** What it sent is sent, all of it; or, rolled back, nothing. */
  endTransaction(transaction: OpenTransaction, how: "commit" | "rollback"): void {
    this.open.splice(this.open.indexOf(transaction), 1);
    if (how === "rollback") return;
    this.#outbox.push(...transaction.sent);
    this.#delayed.push(...transaction.delayed);
  }

  sendLater(draft: Draft, id: string, delay: number): void {
    this.#delayed.push({ draft, id, dueAt: this.now + delay });
    this.delayedIds.push(id);
  }

  /** Whether it will never be delivered. */
  recall(id: string): boolean {
    const before = this.#delayed.length;
    this.#delayed = this.#delayed.filter((delayed) => delayed.id !== id);
    return this.#delayed.length < before;
  }

  /** The relay moves what committed into the log. What one transaction sent keeps its order; between transactions none is promised. */
  relay(): void {
    const held = this.#held.splice(0);
    this.#admit(held);
    const guarded = this.log.guard !== undefined;
    const moved = this.#outbox.sort((a, b) => (guarded ? 0 : a.transaction - b.transaction) || a.number - b.number);
    this.#outbox = [];
    this.#admit(moved);
  }

  /** What is due goes into the log in the order of its due times, and nothing before. */
  moveDue(): void {
    const due = this.#delayed.filter(({ dueAt }) => dueAt <= this.now);
    this.#delayed = this.#delayed.filter(({ dueAt }) => dueAt > this.now);
    const sentOrder = (id: string) => this.delayedIds.indexOf(id);
    this.#admit(due.sort((a, b) => a.dueAt - b.dueAt || sentOrder(a.id) - sentOrder(b.id)));
  }

  #admit(messages: readonly { readonly draft: Draft; readonly id: string }[]): void {
    let room = this.log.roomLeft(this.depth);
    for (const { draft, id } of messages) {
      if (this.#held.length === 0 && room > 0) {
        room -= 1;
        this.log.push(draft, id, this.now);
      } else this.#held.push({ draft, id });
    }
  }

  /** A group's place in every partition, within the log; where it has one, that stays. */
  join(name: string, start: Destination): GroupModel {
    const known = this.groups.get(name);
    if (known !== undefined) return known;
    const positions = this.log.partitions.map((_, partition) => {
      const position = new PositionModel(partition, 0);
      position.next = Math.max(
        this.log.start(partition),
        Math.min(this.log.end(partition), this.#find(position, start)),
      );
      return position;
    });
    const group = new GroupModel(name, positions);
    this.groups.set(name, group);
    return group;
  }

  take(group: GroupModel, partition: number, member: string): Claim {
    const claim = new Claim(group, group.positions[partition] as PositionModel, member);
    this.claims.push(claim);
    return claim;
  }

  move(group: GroupModel, to: Destination): readonly Move[] {
    return group.positions.map((position) => position.move(this.#find(position, to), this.log));
  }

  /** Where another group is. What that one has done out of order is handed over again. */
  clone(from: GroupModel, to: string): readonly Move[] {
    return this.join(to, "earliest").positions.map((position) =>
      position.move(from.positions[position.partition]?.next ?? 0, this.log),
    );
  }

  #find({ partition, next }: PositionModel, to: Destination): number {
    if (to === "earliest") return this.log.start(partition);
    if (to === "latest") return this.log.end(partition);
    if ("offset" in to) return to.offset;
    if ("by" in to) return next + to.by;
    return this.log.offsetAt(partition, this.now - to.hoursAgo);
  }

  trim(): { readonly rolled: boolean; readonly dropped: readonly number[] } {
    const guards = [...this.groups.values()].filter(({ isProtected }) => isProtected);
    const keepFrom = this.log.partitions.map((_, partition) =>
      guards.length === 0 ? null : Math.min(...guards.map(({ positions }) => positions[partition]?.next ?? 0)),
    );
    return this.log.trim(keepFrom, this.now);
  }

  /** What a handler fails with, as it waits. */
  retryOf(claim: Claim, offset: number, delay: number, blocks: Retry["blocks"]): Retry {
    return { message: this.#message(claim, offset), attempt: 1, dueAt: this.now + delay, blocks };
  }

  letterOf(claim: Claim, offset: number, waited: Retry | undefined, reason: Letter["reason"]): Letter {
    return {
      message: waited?.message ?? this.#message(claim, offset),
      reason,
      attempts: waited?.attempt ?? 1,
      redrives: 0,
    };
  }

  /** A redriven message that failed is a dead letter again, and takes the place of one that there is. */
  buryRedriven(claim: Claim, offset: number, { message, redrives, attempts }: Redriven): "done" | "fenced" {
    const outcome = claim.position.endRedriven(claim.epoch, offset);
    if (outcome === "done")
      claim.group.letters.set(`${claim.position.partition}/${offset}`, {
        message,
        reason: "rejected",
        attempts,
        redrives,
      });
    return outcome;
  }

  #message({ position: { partition } }: Claim, offset: number) {
    const message = this.log.partitions[partition]?.[offset];
    if (message === undefined) throw new Error(`the model has no message at ${partition}/${offset}`);
    return message;
  }
}
