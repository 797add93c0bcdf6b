import { randomUUID } from "node:crypto";
import { addMember, claimMember, dropCarried, removeMember, renewLease, subscribe, unsubscribe } from "@sluice/broker";
import type { Presence } from "@sluice/store";
import { isAssigned } from "./consumer/unassigned-consumers.ts";
import type { JoinedConsumer, WorkerOptions } from "./worker-context.ts";

/**
 * As what a process takes part: as a member of its own, or as a static one, whose partitions wait for it when it is gone and until its
 * lease is over.
 */
export class Membership {
  readonly #options: Pick<WorkerOptions, "name" | "leaseMs" | "staticId">;
  readonly #process = randomUUID();
  #hasClaimed = false;
  /** How many of its consumers this term has subscribed. */
  #subscribed = 0;
  /** Whether it has said all that it takes part in, so that what it did before it restarted counts no more. */
  #isSettled = false;

  constructor(options: Pick<WorkerOptions, "name" | "leaseMs" | "staticId">) {
    this.#options = options;
  }

  /** Whether its partitions wait for it. */
  get isStatic(): boolean {
    return this.#options.staticId !== undefined;
  }

  /** Becomes a member. Fails with FENCED when another process is the static member by now, else as any call does. */
  async begin(session: Presence): Promise<number> {
    const { name, leaseMs, staticId } = this.#options;
    this.#subscribed = 0;
    this.#isSettled = false;
    if (staticId === undefined) return await addMember(session, name, leaseMs);
    const claim = { staticId, process: this.#process, again: this.#hasClaimed };
    const member = await claimMember(session, name, leaseMs, claim);
    this.#hasClaimed = true;
    return member;
  }

  /** Takes part for what was joined since the last call. `onSubscribed` hears of each. */
  async subscribe(
    session: Presence,
    member: number,
    joined: readonly JoinedConsumer[],
    onSubscribed: (group: number) => void,
  ): Promise<void> {
    while (this.#subscribed < joined.length) {
      const { group, entry, consumer } = joined[this.#subscribed] as JoinedConsumer;
      // A topic of the group that it shares or broadcasts has no say in this.
      const { assignment } =
        joined.find((one) => one.group === group && isAssigned(one.consumer))?.consumer ?? consumer;
      const { singleActive } = consumer;
      await subscribe(session, member, group, entry.number, { singleActive, assignment });
      this.#subscribed += 1;
      onSubscribed(group);
    }
    if (this.isStatic && !this.#isSettled) await dropCarried(session, member);
    this.#isSettled = true;
  }

  /** It is about to give back what it has: the others need not wait to share it out. (A static member's share waits for it.) */
  async beginLeaving(session: Presence, member: number): Promise<void> {
    if (!this.isStatic) await unsubscribe(session, member);
  }

  /** It has given everything back. A static member is awaited from now on for as long as its lease. */
  async leave(session: Presence, member: number): Promise<void> {
    if (this.isStatic) await renewLease(session, member, this.#options.leaseMs);
    else await removeMember(session, member);
  }
}
