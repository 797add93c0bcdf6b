/** Messages that lie side by side: `count` of them from an offset on, numbered upwards from `number` by their sender. */
export type Run = readonly [partition: number, offset: number, sender: number, number: number, count: number];

/** Where a message is that was only asked for: its sender does not know. */
export const nowhere = -1;

interface Common {
  /** Who did it: a name that is never used again, so a process that is started anew has another one. */
  readonly process: string;
  /** Milliseconds since 1970, by a clock that no fault moves. */
  readonly time: number;
}

/**
 * A send. `invoke`: begun. `ok`: acknowledged, and where. `fail`: for certain not in the log. `info`: nobody knows. One that
 * was invoked and never answered is as good as `info`.
 */
export interface SendOperation extends Common {
  readonly op: "send";
  readonly type: "invoke" | "ok" | "fail" | "info";
  readonly runs: readonly Run[];
}

/** What a process handled for a group, in the order in which it was handed over. */
export interface PollOperation extends Common {
  readonly op: "poll";
  readonly group: string;
  readonly runs: readonly Run[];
}

/** What somebody read from the log without a group. */
export interface ReadOperation extends Common {
  readonly op: "read";
  /** Read once everything was at rest: what is not in it is not in the log. */
  readonly final: boolean;
  readonly runs: readonly Run[];
}

/** Where a partition began and ended at the end, as the database says. */
export interface EndsOperation extends Common {
  readonly op: "ends";
  readonly partition: number;
  readonly start: number;
  readonly end: number;
}

/**
 * A change of a group's position, as the database saw it. `take`: under a new epoch. `commit`: moved within one. `mark`: a message
 * done in its handler's transaction, by somebody who is not the owner.
 */
export interface PositionOperation extends Common {
  readonly op: "position";
  readonly kind: "take" | "commit" | "mark";
  readonly group: string;
  readonly partition: number;
  readonly epoch: number;
  /** Who had it then; empty when nobody had. */
  readonly owner: string;
  readonly from: number;
  readonly to: number;
  /** What is done at `to` and above, as pairs: first, and the first after it. */
  readonly done: readonly (readonly [from: number, to: number])[];
}

/** How often the effects of a group's messages are there at the end. */
export interface EffectOperation extends Common {
  readonly op: "effect";
  readonly group: string;
  readonly partition: number;
  readonly from: number;
  readonly count: number;
  readonly times: number;
}

/** A message that failed waits to be handed over again when the history ends, although the position has passed it. */
export interface WaitingOperation extends Common {
  readonly op: "waiting";
  readonly group: string;
  readonly partition: number;
  readonly offset: number;
}

/** A group, declared before anything of it. */
export interface GroupOperation extends Common {
  readonly op: "group";
  readonly group: string;
  readonly mode: "ordered" | "keyed" | "shared";
  /** Its handler writes in the transaction of the position, so its effects count and not what was handed over. */
  readonly isTransactional: boolean;
  readonly partitions: readonly number[];
  /** Messages of one partition that may be done or in hand, and not yet committed. */
  readonly inFlight: number;
}

/** A fault that was injected, and whom it was for. */
export interface FaultOperation extends Common {
  readonly op: "fault";
  readonly what: string;
}

/** One line of a history. */
export type Operation =
  | SendOperation
  | PollOperation
  | ReadOperation
  | EndsOperation
  | PositionOperation
  | EffectOperation
  | WaitingOperation
  | GroupOperation
  | FaultOperation;

/** What happened, to be gone through as often as there are checks; a file of any length, or a list. */
export type Operations = Iterable<Operation>;

/** How many keys the messages of a history have. */
export const historyKeys = 64;

/** The key of a message: what tells its sender's number tells its key. */
export function keyOf(number: number): number {
  return number % historyKeys;
}

/** Messages of one partition, one sender and ascending numbers become runs, in the order in which they are given. */
export function runsOf(
  messages: Iterable<readonly [partition: number, offset: number, sender: number, number: number]>,
): Run[] {
  const runs: [number, number, number, number, number][] = [];
  for (const [partition, offset, sender, number] of messages) {
    const last = runs.at(-1);
    const goesOn =
      last !== undefined &&
      last[0] === partition &&
      last[2] === sender &&
      last[3] + last[4] === number &&
      (offset === nowhere ? last[1] === nowhere : last[1] + last[4] === offset);
    if (goesOn) last[4] += 1;
    else runs.push([partition, offset, sender, number, 1]);
  }
  return runs;
}
