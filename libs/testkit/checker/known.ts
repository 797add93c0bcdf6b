import { ByKey, Column } from "./columns.ts";
import { type GroupOperation, nowhere, type Operations, type Run } from "./operation.ts";

/** What became of a send, as its sender heard; the last word counts. */
export const outcomes = { none: -1, unknown: 0, acknowledged: 1, failed: 2 } as const;

/** A sender's messages by their numbers. */
class Sent {
  readonly outcome = new Column();
  /** Where its sender was told that it is. */
  readonly toldPartition = new Column();
  readonly toldOffset = new Column();
  /** Where it was first seen. */
  readonly seenPartition = new Column();
  readonly seenOffset = new Column();
}

/** A partition's messages by their offsets: what the last reading found there, else what was seen there first. */
class Seen {
  readonly sender = new Column();
  readonly number = new Column();
  /** 1: the last reading of the log found it. */
  readonly final = new Column();
  start = 0;
  /** -1: nobody has said where the log ended. */
  end = -1;
}

/** A group: how it was declared, and how often it handled each message of a partition. */
export interface KnownGroup {
  readonly declared: GroupOperation;
  readonly handled: ByKey<number, Column>;
  /** Where its position was in the end, by partition; none where the history does not say. */
  readonly reached: Map<number, number>;
  takeovers: number;
}

/** What a whole history says about senders, the log and groups, in a few bytes a message. */
export interface Known {
  readonly sent: ByKey<number, Sent>;
  readonly log: ByKey<number, Seen>;
  readonly groups: Map<string, KnownGroup>;
  readonly operations: number;
  readonly faults: ByKey<string, number>;
}

/** Goes through a history once. */
export function know(history: Operations): Known {
  const sent = new ByKey<number, Sent>(() => new Sent());
  const log = new ByKey<number, Seen>(() => new Seen());
  const groups = new Map<string, KnownGroup>();
  const faults = new ByKey<string, number>(() => 0);
  let operations = 0;
  for (const operation of history) {
    operations += 1;
    switch (operation.op) {
      case "send":
        for (const run of operation.runs) noteSend(sent, operation.type, run);
        break;
      case "poll":
        for (const run of operation.runs) {
          noteSeen(sent, log, run);
          const handled = groups.get(operation.group)?.handled.of(run[0]);
          for (let index = 0; handled !== undefined && index < run[4]; index++)
            handled.set(run[1] + index, Math.max(0, handled.get(run[1] + index)) + 1);
        }
        break;
      case "read":
        for (const run of operation.runs) {
          noteSeen(sent, log, run, operation.final);
        }
        break;
      case "ends":
        Object.assign(log.of(operation.partition), { start: operation.start, end: operation.end });
        break;
      case "group":
        groups.set(operation.group, {
          declared: operation,
          handled: new ByKey(() => new Column()),
          reached: new Map(),
          takeovers: 0,
        });
        break;
      case "position": {
        const group = groups.get(operation.group);
        if (operation.kind !== "mark") group?.reached.set(operation.partition, operation.to);
        // The first owner of a position takes it over from nobody.
        if (group !== undefined && operation.kind === "take" && operation.epoch > 1) group.takeovers += 1;
        break;
      }
      case "fault":
        faults.set(operation.what, faults.of(operation.what) + 1);
        break;
      case "effect":
    }
  }
  return { sent, log, groups, operations, faults };
}

function noteSend(
  sent: ByKey<number, Sent>,
  type: "invoke" | "ok" | "fail" | "info",
  [partition, offset, sender, first, count]: Run,
): void {
  const messages = sent.of(sender);
  for (let index = 0; index < count; index++) {
    const number = first + index;
    if (type === "ok") {
      messages.outcome.set(number, outcomes.acknowledged);
      messages.toldPartition.set(number, partition);
      messages.toldOffset.set(number, offset === nowhere ? nowhere : offset + index);
    } else if (type === "fail") {
      messages.outcome.set(number, outcomes.failed);
    } else {
      messages.outcome.set(number, outcomes.unknown);
    }
  }
}

function noteSeen(
  sent: ByKey<number, Sent>,
  log: ByKey<number, Seen>,
  [partition, offset, sender, first, count]: Run,
  isFinal = false,
): void {
  const entries = log.of(partition);
  const messages = sent.of(sender);
  for (let index = 0; index < count; index++) {
    if (isFinal) entries.final.set(offset + index, 1);
    if (isFinal || entries.number.get(offset + index) === -1) {
      entries.sender.set(offset + index, sender);
      entries.number.set(offset + index, first + index);
    }
    if (messages.seenOffset.get(first + index) === -1) {
      messages.seenPartition.set(first + index, partition);
      messages.seenOffset.set(first + index, offset + index);
    }
  }
}
