import { type Anomaly, type AnomalyName, anomalyNames } from "./anomaly.ts";
import { type Known, know, outcomes } from "./known.ts";
import { abortedRead, duplicate, gap, inconsistentOffsets, lostWrite, phantom } from "./log-checks.ts";
import type { Operations } from "./operation.ts";
import { duplicatesOf, excessDuplicates, keyOrder, mostDuplicates, pollOrder, unseen } from "./poll-checks.ts";
import { epochRegressed, fencedWrite, inexactEffect, positionRegressed } from "./position-checks.ts";
import { nonmonotonicSend } from "./send-checks.ts";

/** How often something was wrong, and the first few in words. */
export interface Finding {
  readonly name: AnomalyName;
  readonly count: number;
  readonly examples: readonly string[];
}

/** What a history holds: a check that read nothing shows nothing. */
export interface Counts {
  readonly operations: number;
  readonly sent: number;
  readonly acknowledged: number;
  readonly failed: number;
  readonly unknown: number;
  /** Messages in the log at the end. */
  readonly logged: number;
  /** Handings-over to groups without effects, all together. */
  readonly handled: number;
  readonly duplicates: number;
  /** By group: positions that went from one owner to another. */
  readonly takeovers: number;
  /** What the duplicates may be at most: takeovers × in flight. */
  readonly duplicatesAllowed: number;
  readonly faults: Readonly<Record<string, number>>;
}

/** The judgement on a history. */
export interface Verdict {
  readonly counts: Counts;
  /** What is wrong; nothing is when it is empty. */
  readonly findings: readonly Finding[];
}

const keptExamples = 5;

/** Every check over a history, of any length: it is gone through once for each, and kept in a few bytes a message. */
export function checkHistory(history: Operations): Verdict {
  const known = know(history);
  const checks: readonly Iterable<Anomaly>[] = [
    lostWrite(known),
    unseen(known),
    duplicate(known),
    inconsistentOffsets(history, known),
    abortedRead(known),
    phantom(known),
    gap(known),
    nonmonotonicSend(history, known),
    pollOrder(history, known),
    keyOrder(history, known),
    fencedWrite(history),
    epochRegressed(history),
    positionRegressed(history),
    inexactEffect(history, known),
    excessDuplicates(known),
  ];
  const found = new Map<AnomalyName, { count: number; readonly examples: string[] }>();
  for (const check of checks) {
    for (const { name, text } of check) {
      const finding = found.get(name) ?? { count: 0, examples: [] };
      finding.count += 1;
      if (finding.examples.length < keptExamples) finding.examples.push(text);
      found.set(name, finding);
    }
  }
  const findings = anomalyNames.flatMap((name) => {
    const finding = found.get(name);
    return finding === undefined ? [] : [{ name, ...finding }];
  });
  return { counts: countsOf(known), findings };
}

function countsOf(known: Known): Counts {
  const sends = { sent: 0, acknowledged: 0, failed: 0, unknown: 0 };
  for (const { outcome } of known.sent.values()) {
    for (let number = 0; number < outcome.length; number++) {
      const value = outcome.get(number);
      if (value === outcomes.none) continue;
      sends.sent += 1;
      if (value === outcomes.acknowledged) sends.acknowledged += 1;
      else if (value === outcomes.failed) sends.failed += 1;
      else sends.unknown += 1;
    }
  }
  let logged = 0;
  for (const { final } of known.log.values()) {
    for (let offset = 0; offset < final.length; offset++) if (final.get(offset) === 1) logged += 1;
  }
  let [handled, duplicates, takeovers, duplicatesAllowed] = [0, 0, 0, 0];
  for (const group of known.groups.values()) {
    takeovers += group.takeovers;
    if (group.declared.isTransactional) continue;
    duplicates += duplicatesOf(group);
    duplicatesAllowed += mostDuplicates(group, known);
    for (const counts of group.handled.values())
      for (let offset = 0; offset < counts.length; offset++) handled += Math.max(0, counts.get(offset));
  }
  return {
    operations: known.operations,
    ...sends,
    logged,
    handled,
    duplicates,
    takeovers,
    duplicatesAllowed,
    faults: Object.fromEntries(known.faults),
  };
}
