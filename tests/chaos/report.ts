import type { Verdict } from "@sluice/testkit/checker";

/** What a run has shown. */
export interface Report {
  readonly seed: number;
  readonly seconds: number;
  readonly passed: boolean;
  readonly verdict: Verdict;
  readonly lag: { readonly backToZeroMs: number | undefined; readonly left: readonly string[] };
  /** Of the processes that are never ended, in MiB: the median of the run's second quarter and of its last. */
  readonly memory: { readonly second: number; readonly last: number; readonly samples: number };
  /** Producers that did not end in time. */
  readonly late: readonly string[];
  /** Processes that ended by themselves. */
  readonly unexpected: readonly string[];
  /** Faults that were not possible here, and why. */
  readonly skipped: Readonly<Record<string, string>>;
  /** Kept when something is wrong. */
  readonly historyFile?: string;
}

const invariants: readonly (readonly [sentence: string, anomalies: readonly string[]])[] = [
  ["1 acknowledged is readable", ["lost-write"]],
  ["2, 18 failed and rolled back is never readable", ["aborted-read", "phantom"]],
  ["3, 8 an offset has one value", ["inconsistent-offsets"]],
  ["4 a value has one offset", ["duplicate"]],
  ["5, 6 offsets are dense", ["gap"]],
  ["7 senders keep their order", ["nonmonotonic-send", "int-nonmonotonic-send"]],
  [
    "9, 10 an epoch begins at its position and is contiguous",
    ["poll-skip", "int-poll-skip", "nonmonotonic-poll", "int-nonmonotonic-poll"],
  ],
  ["11 positions never go back", ["position-regressed", "epoch-regressed"]],
  ["12 nothing commits with an old epoch", ["fenced-write"]],
  ["13 exactly one effect", ["inexact-effect"]],
  ["14 at least once", ["unseen"]],
  ["14 duplicates at most what was in flight", ["excess-duplicates"]],
  ["21 order per key", ["key-order"]],
];

/** The verdict per invariant, with the numbers it rests on, as lines for people. */
export function linesOf(report: Report): string[] {
  const { counts, findings } = report.verdict;
  const kinds = Object.entries(counts.faults).sort(([left], [right]) => left.localeCompare(right));
  const total = kinds.reduce((sum, [, count]) => sum + count, 0);
  return [
    `seed ${report.seed}, ${report.seconds} s of faults`,
    `sent ${counts.sent}, acknowledged ${counts.acknowledged}, failed ${counts.failed}, unknown ${counts.unknown}; in the log ${counts.logged}`,
    `handled ${counts.handled}, of them again ${counts.duplicates} (at most ${counts.duplicatesAllowed}); takeovers ${counts.takeovers}`,
    `faults ${total} of ${kinds.length} kinds: ${kinds.map(([what, count]) => `${what} ${count}`).join(", ")}`,
    ...Object.entries(report.skipped).map(([what, why]) => `skipped ${what}: ${why}`),
    ...invariants.map(([sentence, names]) => {
      const wrong = findings.filter(({ name }) => names.includes(name));
      return `${wrong.length === 0 ? "holds " : "BROKEN"} ${sentence}${wrong.map(({ name, count }) => `; ${name} ${count}`).join("")}`;
    }),
    report.lag.backToZeroMs === undefined
      ? `BROKEN 22 lag returns to zero: ${report.lag.left.join(", ")}`
      : `holds  22 lag returns to zero: after ${report.lag.backToZeroMs} ms`,
    `memory ${report.memory.second} MiB in the second quarter, ${report.memory.last} MiB in the last (${report.memory.samples} samples)`,
    ...report.late.map((name) => `BROKEN ${name} did not end when it was told to`),
    ...report.unexpected.map((name) => `BROKEN ${name} ended by itself`),
    ...findings.flatMap(({ name, examples }) => examples.map((text) => `  ${name}: ${text}`)),
    ...(report.historyFile === undefined
      ? []
      : [`the history is in ${report.historyFile}; bun run chaos --check FILE judges it again`]),
    report.passed ? "everything holds" : "NOT everything holds",
  ];
}
