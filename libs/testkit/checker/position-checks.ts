import { type Anomaly, place } from "./anomaly.ts";
import type { Known } from "./known.ts";
import type { Operations } from "./operation.ts";

/** Whoever writes a position, or marks a message as done, owns the position at that moment (invariant 12). */
export function* fencedWrite(history: Operations): Iterable<Anomaly> {
  for (const operation of history) {
    if (operation.op !== "position" || operation.kind === "take") continue;
    if (operation.owner === "" || operation.owner === operation.process) continue;
    yield {
      name: "fenced-write",
      text: `${operation.process} wrote ${place(operation.partition, operation.to)} of ${operation.group}, which was ${operation.owner}'s under epoch ${operation.epoch}`,
    };
  }
}

/** Each take of a position has the epoch after the one before. */
export function* epochRegressed(history: Operations): Iterable<Anomaly> {
  const last = new Map<string, number>();
  for (const operation of history) {
    if (operation.op !== "position") continue;
    const line = `${operation.group} ${operation.partition}`;
    const before = last.get(line) ?? 0;
    const expected = operation.kind === "take" ? before + 1 : before;
    if (operation.epoch !== expected)
      yield {
        name: "epoch-regressed",
        text: `partition ${operation.partition} of ${operation.group}: a ${operation.kind} under epoch ${operation.epoch} after epoch ${before}`,
      };
    last.set(line, operation.epoch);
  }
}

/** A position never goes back, and each change begins where the one before ended (invariant 11). */
export function* positionRegressed(history: Operations): Iterable<Anomaly> {
  const last = new Map<string, number>();
  for (const operation of history) {
    if (operation.op !== "position" || operation.kind === "mark") continue;
    const line = `${operation.group} ${operation.partition}`;
    const before = last.get(line) ?? operation.from;
    if (operation.to < operation.from || operation.from !== before)
      yield {
        name: "position-regressed",
        text: `partition ${operation.partition} of ${operation.group} went from ${operation.from} to ${operation.to}, after ${before}`,
      };
    last.set(line, operation.to);
  }
}

/**
 * In a transactional group each message below the position has exactly one effect, one above it at most one, and nothing else has any
 * (invariant 13). What lies above the position when the history ends, or waits to be handed over again, is lag and nothing lost.
 */
export function* inexactEffect(history: Operations, { groups, log }: Known): Iterable<Anomaly> {
  const positions = new Map<string, number>();
  const waiting = new Set<string>();
  for (const operation of history) {
    if (operation.op === "position" && operation.kind !== "mark")
      positions.set(`${operation.group} ${operation.partition}`, operation.to);
    if (operation.op === "waiting") waiting.add(`${operation.group} ${operation.partition} ${operation.offset}`);
  }
  const firstLost = (line: string, from: number, end: number): number | undefined => {
    const to = Math.min(end, positions.get(line) ?? end);
    for (let offset = from; offset < to; offset += 1) if (!waiting.has(`${line} ${offset}`)) return offset;
    return undefined;
  };
  const reached = new Map<string, number>();
  for (const operation of history) {
    if (operation.op !== "effect") continue;
    const { group, partition, from, count, times } = operation;
    const line = `${group} ${partition}`;
    const expected = reached.get(line) ?? log.of(partition).start;
    const wrong = from < expected ? from : firstLost(line, expected, from);
    if (wrong !== undefined)
      yield {
        name: "inexact-effect",
        text: `${place(partition, wrong)} has no effect of ${group}, those from ${from} on have`,
      };
    if (times !== 1)
      yield {
        name: "inexact-effect",
        text: `${place(partition, from)} has ${times} effects of ${group}, and ${count - 1} after it`,
      };
    reached.set(line, from + count);
  }
  for (const [group, { declared }] of groups) {
    for (const partition of declared.isTransactional ? declared.partitions : []) {
      const line = `${group} ${partition}`;
      const { start, end } = log.of(partition);
      const to = reached.get(line) ?? start;
      if (end !== -1 && (to > end || firstLost(line, to, end) !== undefined))
        yield {
          name: "inexact-effect",
          text: `${group} has effects to ${to} of partition ${partition}, whose log ends at ${end}`,
        };
    }
  }
}
