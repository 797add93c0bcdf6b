import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { temporaryFolder } from "../temporary-folder.ts";
import { type AnomalyName, anomalyNames } from "./anomaly.ts";
import { checkHistory } from "./check.ts";
import { HistoryWriter, mergeHistories, readHistory } from "./history-file.ts";
import { keyOf, type Operation, type PollOperation, type Run, runsOf, type SendOperation } from "./operation.ts";
import { goodHistory } from "./simulated-history-fixture.ts";

/** Changes a good history so that it holds one anomaly; `undefined` where it has no place for it. */
type Planting = (history: Operation[], pick: (length: number) => number) => Operation[] | undefined;

const single = (runs: readonly Run[]) =>
  runs.flatMap(([partition, offset, sender, number, count]) =>
    Array.from({ length: count }, (_, index) => [partition, offset + index, sender, number + index] as const),
  );
type Single = ReturnType<typeof single>[number];

const isPoll =
  (group: string) =>
  (one: Operation): one is PollOperation =>
    one.op === "poll" && one.group === group;
const isSend =
  (type: SendOperation["type"]) =>
  (one: Operation): one is SendOperation =>
    one.op === "send" && one.type === type;

/** Replaces one operation that `is` picks. */
function changed<Kind extends Operation>(
  history: Operation[],
  pick: (length: number) => number,
  is: (one: Operation) => one is Kind,
  change: (one: Kind) => readonly Operation[] | undefined,
): Operation[] | undefined {
  const fitting = history.flatMap((one, index) => {
    if (!is(one)) return [];
    const made = change(one);
    return made === undefined ? [] : [{ index, made }];
  });
  const chosen = fitting[pick(fitting.length)];
  return chosen === undefined ? undefined : history.toSpliced(chosen.index, 1, ...chosen.made);
}

const withRuns = <Kind extends { readonly runs: readonly Run[] }>(one: Kind, messages: readonly Single[]): Kind => ({
  ...one,
  runs: runsOf(messages),
});

/** The last reading of one partition, changed. */
const reading = (
  history: Operation[],
  pick: (length: number) => number,
  change: (all: Single[]) => Single[] | undefined,
) =>
  changed(
    history,
    pick,
    (one) => one.op === "read",
    (one) => {
      const made = "runs" in one ? change(single(one.runs)) : undefined;
      return made === undefined || !("runs" in one) ? undefined : [withRuns(one, made)];
    },
  );

const plantings: Readonly<Record<AnomalyName, Planting>> = {
  "lost-write": (history, pick) => {
    const last = history.find((one) => one.op === "ends");
    return changed(history, pick, isSend("info"), (one) => {
      const runs = one.runs.map(
        ([, , sender, number, count]): Run => [last?.op === "ends" ? last.partition : 0, 5_000, sender, number, count],
      );
      return [{ ...one, type: "ok", runs }];
    });
  },
  unseen: (history, pick) => {
    const chosen = history.filter(isPoll("together"));
    const run = chosen[pick(chosen.length)]?.runs.find(([, , , , count]) => count > 0);
    if (run === undefined) return undefined;
    return history.map((one) =>
      isPoll("together")(one)
        ? withRuns(
            one,
            single(one.runs).filter(([partition, offset]) => partition !== run[0] || offset !== run[1]),
          )
        : one,
    );
  },
  duplicate: (history, pick) =>
    reading(history, pick, (all) => {
      const [first, last] = [all[0], all.at(-1)];
      return first === undefined || last === undefined
        ? undefined
        : [...all, [last[0], last[1] + 1, first[2], first[3]] as const];
    }),
  "inconsistent-offsets": (history, pick) =>
    changed(history, pick, isPoll("together"), (one) => {
      const all = single(one.runs);
      const [first, second] = [all[0], all[1]];
      return first === undefined || second === undefined
        ? undefined
        : [
            withRuns(one, [
              [first[0], first[1], second[2], second[3]],
              [second[0], second[1], first[2], first[3]],
              ...all.slice(2),
            ]),
          ];
    }),
  "aborted-read": (history, pick) => {
    const seen = new Set(
      history.flatMap((one) => (one.op === "read" ? single(one.runs) : [])).map(([, , s, n]) => `${s}:${n}`),
    );
    return changed(history, pick, isSend("info"), (one) =>
      single(one.runs).some(([, , sender, number]) => seen.has(`${sender}:${number}`))
        ? [{ ...one, type: "fail" }]
        : undefined,
    );
  },
  "int-poll-skip": (history, pick) =>
    changed(history, pick, isPoll("in-order"), (one) => {
      const all = single(one.runs);
      return all.length < 3 ? undefined : [withRuns(one, all.toSpliced(1, 1))];
    }),
  "poll-skip": (history, pick) =>
    changed(history, pick, isPoll("in-order"), (one) => {
      const all = single(one.runs);
      return all.length < 2 ? undefined : [withRuns(one, all.slice(1))];
    }),
  "int-nonmonotonic-poll": (history, pick) =>
    changed(history, pick, isPoll("in-order"), (one) => {
      const all = single(one.runs);
      const second = all[1];
      return second === undefined ? undefined : [withRuns(one, [...all.slice(0, 2), second, ...all.slice(2)])];
    }),
  "nonmonotonic-poll": (history, pick) =>
    changed(history, pick, isPoll("in-order"), (one) => {
      const all = single(one.runs);
      return all.length < 2 ? undefined : [one, withRuns(one, all.slice(1))];
    }),
  "int-nonmonotonic-send": (history, pick) =>
    changed(history, pick, isSend("ok"), (one) => {
      const all = single(one.runs);
      return all.length < 2 ? undefined : [{ ...one, runs: all.map((each): Run => [...each, 1]).reverse() }];
    }),
  "nonmonotonic-send": (history, pick) =>
    reading(history, pick, (all) => {
      const later = all.findIndex((one, index) =>
        all.slice(0, index).some((other) => other[2] === one[2] && other[3] < one[3]),
      );
      const earlier = all.findIndex((one) => one[2] === all[later]?.[2]);
      const [a, b] = [all[earlier], all[later]];
      if (a === undefined || b === undefined) return undefined;
      return all.with(earlier, [a[0], a[1], b[2], b[3]]).with(later, [b[0], b[1], a[2], a[3]]);
    }),
  phantom: (history, pick) =>
    reading(history, pick, (all) => {
      const last = all.at(-1);
      return last === undefined ? undefined : all.with(-1, [last[0], last[1], 2, 9_999]);
    }),
  gap: (history, pick) =>
    reading(history, pick, (all) => (all.length < 2 ? undefined : all.toSpliced(pick(all.length), 1))),
  "key-order": laterFirst,
  "fenced-write": (history, pick) =>
    changed(
      history,
      pick,
      (one) => one.op === "position",
      (one) => (one.op === "position" && one.kind === "commit" ? [{ ...one, process: "zombie" }] : undefined),
    ),
  "epoch-regressed": (history, pick) =>
    changed(
      history,
      pick,
      (one) => one.op === "position",
      (one) => (one.op === "position" ? [{ ...one, epoch: one.epoch - 1 }] : undefined),
    ),
  "position-regressed": (history, pick) =>
    changed(
      history,
      pick,
      (one) => one.op === "position",
      (one) => (one.op === "position" && one.to > one.from ? [{ ...one, from: one.to, to: one.from }] : undefined),
    ),
  "inexact-effect": (history, pick) =>
    changed(
      history,
      pick,
      (one) => one.op === "effect",
      (one) => {
        if (one.op !== "effect") return undefined;
        return pick(2) === 0 ? [{ ...one, times: 2 }] : [{ ...one, from: one.from + 1, count: one.count - 1 }];
      },
    ),
  "excess-duplicates": (history, pick) => changed(history, pick, isPoll("together"), (one) => [one, one]),
};

/** A message is handled before anything else, although one of its key lies before it. */
function laterFirst(history: Operation[]): Operation[] | undefined {
  const polls = history.filter(isPoll("by-key"));
  const all = polls.flatMap(({ runs }) => single(runs));
  const later = all.find((one) =>
    all.some((other) => other[0] === one[0] && other[1] < one[1] && keyOf(other[3]) === keyOf(one[3])),
  );
  const first = polls[0];
  if (later === undefined || first === undefined) return undefined;
  return history.toSpliced(history.indexOf(first), 0, withRuns(first, [later]));
}

/** A transactional group has come to `position` of partition 0; all but the message at `missing` have their effects. */
function withLag(history: Operation[], position: number, missing: number): Operation[] {
  return history.flatMap((one): Operation[] => {
    if (one.op !== "effect" || one.partition !== 0) return [one];
    const { time, group, partition } = one;
    const common = { time, group, partition, epoch: 1, process: "consumer-1", owner: "consumer-1", done: [] };
    return [
      { ...common, op: "position", kind: "take", from: 0, to: 0 },
      { ...common, op: "position", kind: "commit", from: 0, to: position },
      { ...one, count: missing },
      { ...one, from: missing + 1, count: one.count - missing - 1 },
    ];
  });
}

const seeds = fc.integer({ min: 0, max: 2 ** 31 - 1 });

test("[I1][I5][I9][I12][I13][I21] a good history has no anomaly", () => {
  let read = 0;
  fc.assert(
    fc.property(seeds, (seed) => {
      const { findings, counts } = checkHistory(goodHistory(seed));
      read += counts.handled;
      expect(findings).toEqual([]);
    }),
    { numRuns: 300 },
  );
  expect(read).toBeGreaterThan(10_000);
});

test.each(anomalyNames.map((name) => [name] as const))("planted into a good history, %s is found and named", (name) => {
  let planted = 0;
  fc.assert(
    fc.property(seeds, fc.nat(), (seed, choice) => {
      const broken = plantings[name](goodHistory(seed), (length) => (length === 0 ? 0 : choice % length));
      if (broken === undefined) return;
      planted += 1;
      expect(checkHistory(broken).findings.map((finding) => finding.name)).toContain(name);
    }),
    { numRuns: 150 },
  );
  expect(planted).toBeGreaterThan(20);
});

test("[I13] what lies above a position that stands still is lag; what it has passed and has no effect is lost", () => {
  const history = goodHistory(5);
  const found = (missing: number) => checkHistory(withLag(history, 10, missing)).findings.map(({ name }) => name);
  expect(found(10)).toEqual([]);
  expect(found(12)).toEqual([]);
  expect(found(9)).toEqual(["inexact-effect"]);
  const waiting = { process: "c", time: 0, op: "waiting", group: "effects", partition: 0, offset: 9 } as const;
  expect(checkHistory([...withLag(history, 10, 9), waiting]).findings).toEqual([]);
});

test("[I14] what no position has passed may be unhandled, if the history knows positions of the group", () => {
  const history = goodHistory(5).filter((one) => one.op !== "poll" || one.group !== "together");
  const found = (more: readonly Operation[]) =>
    new Set(checkHistory([...history, ...more]).findings.map(({ name }) => name));
  expect(found([])).toEqual(new Set(["unseen"]));
  const common = { process: "c", time: 0, group: "together", epoch: 1, owner: "c", done: [] };
  const taken = { ...common, op: "position", kind: "take", from: 0, to: 0 } as const;
  expect(found([0, 1, 2].map((partition) => ({ ...taken, partition })))).toEqual(new Set());
  expect(found([{ ...taken, partition: 0 }])).toEqual(new Set());
});

test("a history of several processes is read from files, in the order of time, without a line that was cut", () => {
  using folder = temporaryFolder("history");
  const history = goodHistory(1);
  const writers = new Map<string, HistoryWriter>();
  const pathOf = (process: string) => join(folder.path, `${process}.ndjson`);
  for (const operation of history) {
    const writer = writers.get(operation.process) ?? new HistoryWriter(pathOf(operation.process));
    writers.set(operation.process, writer);
    void writer.write(operation);
  }
  for (const writer of writers.values()) writer.close();
  const cut = join(folder.path, "cut.ndjson");
  writeFileSync(cut, '{"op":"fault","what":"ki');
  const whole = join(folder.path, "whole.ndjson");
  mergeHistories([...[...writers.keys()].map(pathOf), cut], whole);
  expect([...readHistory(whole)]).toEqual(history);
  expect(checkHistory(readHistory(whole))).toEqual(checkHistory(history));
});
