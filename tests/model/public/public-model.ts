import type { Deed, GroupName, Task } from "./workload.ts";

/** What became of a message that somebody sent. */
export type Fate = "sent" | "due soon" | "due later" | "recalled" | "rolled back";

/** A message, as its sender knows it. */
export interface SentMessage extends Task {
  /** How it was sent: only what was sent at once has an order. */
  readonly how: "at once" | "in a transaction" | "later";
  fate: Fate;
  /** Of the log or the delayed one. */
  readonly id: string;
}

/** What a group has had done to it. */
export interface GroupModel {
  readonly name: GroupName;
  isPaused: boolean;
  /** How often a message was redriven, by its number. */
  readonly redrives: Map<number, number>;
  /** Numbers of messages that were corrected before. */
  readonly corrected: Set<number>;
}

/** Where a message of a group is, once everything has settled. */
export type Outcome = "done" | "rejected" | "exhausted";

/**
 * Sluice as its users know it: what was sent is handled by every group. There is nothing in it of members, positions or time, for none of
 * these is to matter.
 */
export class PublicModel {
  readonly messages: SentMessage[] = [];
  readonly groups = new Map<GroupName, GroupModel>();
  /** Members that come from now on have the group `late`. */
  hasLate = false;
  /** Faults so far: each may cost a message an attempt. */
  faults = 0;

  /** Groups come with the first member that has them. */
  join(name: GroupName): void {
    if (this.groups.has(name)) return;
    this.groups.set(name, { name, isPaused: false, redrives: new Map(), corrected: new Set() });
  }

  /** Messages that every group must see. */
  get visible(): readonly SentMessage[] {
    return this.messages.filter(({ fate }) => fate === "sent" || fate === "due soon");
  }

  outcomeOf({ deed, n }: { readonly deed: Deed; readonly n: number }, { corrected }: GroupModel): Outcome {
    if (corrected.has(n)) return "done";
    if (deed === "reject") return "rejected";
    return deed === "failAlways" ? "exhausted" : "done";
  }
}
