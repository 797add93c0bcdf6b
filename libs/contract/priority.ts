import { limits, type Problem } from "@sluice/kernel";

/** Which messages of a topic come first. */
export interface PriorityOptions<Value> {
  /**
   * How many priorities messages have, from 0 (the least urgent) to this − 1: 1 to 10; default 1, none. Among messages that wait, those
   * of a higher one are handed over first; see docs/priorities.md. A topic that exists gets more when it is declared with
   * more and nobody consumes it at that moment, and never fewer.
   */
  readonly priorities?: number;
  /** The priority of a message that is sent without one. Default 0 for each. */
  readonly priority?: (value: Value) => number;
}

/** What a sender may say of one message. */
export interface MessagePriorityOptions {
  /** From 0, the least urgent, to the topic's priorities − 1. Overrides the topic's `priority` function; default 0. */
  readonly priority?: number;
}

/** Where a message of a priority lies: a partition of the log, a lane of one of the topic's partitions. */
export interface Lane {
  /** Among those that keys are spread over. */
  readonly base: number;
  readonly priority: number;
}

/** How many partitions the log has of a topic, and how many priorities it makes of them. */
export interface Lanes {
  readonly partitions: number;
  readonly priorities: number;
}

/** Over how many partitions the keys of a topic are spread: each has a lane for every priority. */
export function basePartitions({ partitions, priorities }: Lanes): number {
  return partitions / priorities;
}

/** The partition of the log that holds a lane: `priority × base partitions + base`. The same as sluice.lane_of computes. */
export function partitionOfLane({ base, priority }: Lane, lanes: Lanes): number {
  return priority * basePartitions(lanes) + base;
}

/** Which lane a partition of the log is. */
export function laneOf(partition: number, lanes: Lanes): Lane {
  const base = partition % basePartitions(lanes);
  return { base, priority: (partition - base) / basePartitions(lanes) };
}

/** Everything that is wrong with a topic's priorities. */
export function priorityProblems<Value>(options: PriorityOptions<Value> & { readonly partitions?: number }): Problem[] {
  const { priorities = 1, priority, partitions = 8 } = options;
  const problems: Problem[] = [];
  if (!(Number.isInteger(priorities) && priorities >= 1 && priorities <= limits.priorities)) {
    problems.push({ path: "priorities", message: `must be a whole number from 1 to ${limits.priorities}` });
  } else if (partitions * priorities > limits.partitions) {
    const message = `times ${partitions} partitions are more than the ${limits.partitions} that a topic's log may have`;
    problems.push({ path: "priorities", message });
  }
  if (priority !== undefined && typeof priority !== "function") {
    problems.push({ path: "priority", message: "must be a function of the value" });
  } else if (priority !== undefined && priorities === 1) {
    problems.push({ path: "priority", message: "has no meaning without priorities" });
  }
  return problems;
}

/** What is wrong with consuming a topic or a pattern in a mode: in order, and the urgent first, cannot both be had. */
export function laneProblems(
  from: { readonly priorities: number } | { readonly pattern: string },
  mode = "ordered",
): Problem[] {
  if (mode !== "ordered" || "pattern" in from || from.priorities === 1) return [];
  return [{ path: "mode", message: 'must be "keyed", "shared" or "broadcast" for a topic with priorities' }];
}

/** What is wrong with the priority of a message; `undefined` when nothing is. */
export function priorityProblem(
  topic: { readonly name: string; readonly priorities: number },
  priority: unknown,
): string | undefined {
  if (Number.isInteger(priority) && (priority as number) >= 0 && (priority as number) < topic.priorities)
    return undefined;
  if (topic.priorities === 1) return `must be 0: topic ${topic.name} is declared without priorities`;
  return `must be a whole number from 0 to ${topic.priorities - 1}`;
}
