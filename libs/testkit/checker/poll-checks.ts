import { type Anomaly, message, place } from "./anomaly.ts";
import { ByKey } from "./columns.ts";
import type { Known, KnownGroup } from "./known.ts";
import { historyKeys, keyOf, type Operations, type PositionOperation } from "./operation.ts";

/**
 * What a group's position has passed was handled (invariant 14): nothing of a partition whose position never moved, and all of the log where the
 * history knows none of the group's positions.
 */
export function* unseen({ groups, log }: Known): Iterable<Anomaly> {
  for (const [group, { declared, handled, reached }] of groups) {
    if (declared.isTransactional) continue;
    for (const partition of declared.partitions) {
      const { start, end } = log.of(partition);
      const passed = reached.get(partition) ?? (reached.size > 0 ? start : end);
      for (let offset = start; offset < passed; offset++) {
        if (handled.of(partition).get(offset) < 1)
          yield { name: "unseen", text: `${place(partition, offset)} was never handled by ${group}` };
      }
    }
  }
}

/** What is handled twice was in flight when an owner went: at most takeovers × in flight (invariant 14). */
export function* excessDuplicates(known: Known): Iterable<Anomaly> {
  for (const [group, one] of known.groups) {
    if (one.declared.isTransactional) continue;
    const [again, most] = [duplicatesOf(one), mostDuplicates(one, known)];
    if (again > most)
      yield {
        name: "excess-duplicates",
        text: `${group} handled ${again} messages again; its interruptions explain ${most}`,
      };
  }
}

/** How often messages were handled beyond the first time. */
export function duplicatesOf({ handled }: KnownGroup): number {
  let again = 0;
  for (const counts of handled.values())
    for (let offset = 0; offset < counts.length; offset++) again += Math.max(0, counts.get(offset) - 1);
  return again;
}

/** How many messages a group may handle again. In a shared group nobody takes partitions over: every fault counts. */
export function mostDuplicates({ declared, takeovers }: KnownGroup, { faults }: Known): number {
  const injected = [...faults.values()].reduce((sum, count) => sum + count, 0);
  return declared.inFlight * (declared.mode === "shared" ? injected : takeovers);
}

/** The terms of one process in one partition: when it took it, and how far it has come. */
interface Reader {
  readonly takes: PositionOperation[];
  /** The take that it is at; -1 before the first. */
  term: number;
  /** -1 before it has handled anything. */
  last: number;
}

/**
 * Between two takes of a partition an ordered consumer handles offset after offset, but for those that were done when it
 * was taken; and the first one is the one it was taken at (invariants 9 and 10). Also within one poll.
 */
export function* pollOrder(history: Operations, { groups }: Known): Iterable<Anomaly> {
  const readers = new ByKey<string, Reader>(() => ({ takes: [], term: -1, last: -1 }));
  const isOrdered = (group: string) => {
    const declared = groups.get(group)?.declared;
    return declared?.mode === "ordered" && !declared.isTransactional;
  };
  // The database's clock and the processes' need not agree to the millisecond, so takes are known before polls.
  for (const operation of history) {
    if (operation.op === "position" && operation.kind === "take" && isOrdered(operation.group))
      readers.of(`${operation.group} ${operation.partition} ${operation.owner}`).takes.push(operation);
  }
  for (const operation of history) {
    if (operation.op !== "poll" || !isOrdered(operation.group)) continue;
    const inThisPoll = new Set<number>();
    for (const [partition, first, , , count] of operation.runs) {
      const reader = readers.of(`${operation.group} ${partition} ${operation.process}`);
      const found = step(reader, first);
      const within = inThisPoll.has(partition) ? ("int-" as const) : ("" as const);
      if (found !== undefined)
        yield {
          name: `${within}${found}`,
          text: `${operation.process} of ${operation.group} handled ${place(partition, first)} after ${reader.last}, and did not take the partition there`,
        };
      reader.last = first + count - 1;
      inThisPoll.add(partition);
    }
  }
}

/** Goes on to an offset; what is wrong with that, if anything is. */
function step(reader: Reader, offset: number): "poll-skip" | "nonmonotonic-poll" | undefined {
  const { takes, term, last } = reader;
  if (term !== -1 && offset > last && isDone(takes.slice(term), last + 1, offset)) return undefined;
  const next = takes.findIndex((take, index) => index > term && offset >= take.to && isDone([take], take.to, offset));
  if (next === -1) return offset > last ? "poll-skip" : "nonmonotonic-poll";
  reader.term = next;
  return undefined;
}

/** Whether everything from an offset to another was done already when it was taken. */
function isDone(takes: readonly PositionOperation[], from: number, to: number): boolean {
  for (let offset = from; offset < to; offset++) {
    if (!takes.some(({ done }) => done.some((range) => range[0] <= offset && offset < range[1]))) return false;
  }
  return true;
}

/** A message is handled for the first time after all earlier ones of its key (invariant 21). */
export function* keyOrder(history: Operations, { groups, log }: Known): Iterable<Anomaly> {
  const lines = new ByKey<string, KeyLine[]>(() =>
    Array.from({ length: historyKeys }, () => ({ next: 0, ahead: new Set<number>() })),
  );
  for (const operation of history) {
    if (operation.op !== "poll") continue;
    const declared = groups.get(operation.group)?.declared;
    if (declared === undefined || declared.mode === "shared" || declared.isTransactional) continue;
    for (const [partition, first, sender, number, count] of operation.runs) {
      const keys = lines.of(`${operation.group} ${partition}`);
      const numbers = log.of(partition).number;
      for (let index = 0; index < count; index++) {
        const key = keyOf(number + index);
        const line = keys[key];
        if (line === undefined) continue;
        const offset = first + index;
        const before = firstOf(numbers, key, line, offset);
        if (before === undefined) continue;
        yield {
          name: "key-order",
          text: `${operation.process} of ${operation.group} handled ${message(sender, number + index)} at ${place(partition, offset)} before ${before} of its key`,
        };
      }
    }
  }
}

/** How far one key has come: everything of it below `next` was handled. */
interface KeyLine {
  next: number;
  readonly ahead: Set<number>;
}

/** Notes an offset as handled; the first of its key that was not and should have been, if there is one. */
function firstOf(
  numbers: { get(index: number): number },
  key: number,
  line: KeyLine,
  offset: number,
): number | undefined {
  if (offset < line.next || line.ahead.has(offset)) return undefined;
  for (let earlier = line.next; earlier < offset; earlier++) {
    const number = numbers.get(earlier);
    if (number === -1 || keyOf(number) !== key || line.ahead.has(earlier)) continue;
    line.ahead.add(offset);
    return earlier;
  }
  line.next = offset + 1;
  return undefined;
}
