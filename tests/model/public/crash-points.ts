import type { Report } from "./workload.ts";

/** Where a member can be when it crashes: in a handler, or at a statement, which the server has got or not. */
export interface CrashPoint {
  /** The handler has come so far. */
  readonly phase?: Report["phase"];
  readonly statement?: RegExp;
  /** The server does it, and the answer does not arrive. */
  readonly isUnanswered?: boolean;
}

const commit = /^\s*commit\s*$/i;
const positions = /sluice\.commit_positions/;

/** By name; with none of both, at once. */
export const crashPoints = {
  now: {},
  begin: { phase: "begin" },
  done: { phase: "done" },
  rejected: { phase: "rejected" },
  mark: { statement: /sluice\.mark_done/ },
  commit: { statement: commit },
  commitUnanswered: { statement: commit, isUnanswered: true },
  positions: { statement: positions },
  positionsUnanswered: { statement: positions, isUnanswered: true },
  keepFailures: { statement: /sluice\.keep_failures/ },
  keepFailuresUnanswered: { statement: /sluice\.keep_failures/, isUnanswered: true },
  countAttempts: { statement: /sluice\.count_attempts/ },
  countAttemptsUnanswered: { statement: /sluice\.count_attempts/, isUnanswered: true },
  toRetry: { statement: /sluice\.move_all_to_retry/ },
  toRetryUnanswered: { statement: /sluice\.move_all_to_retry/, isUnanswered: true },
  beginRetries: { statement: /sluice\.begin_all_retries/ },
  beginRetriesUnanswered: { statement: /sluice\.begin_all_retries/, isUnanswered: true },
  finishRetries: { statement: /sluice\.finish_retries/ },
  finishRetriesUnanswered: { statement: /sluice\.finish_retries/, isUnanswered: true },
  settleRetries: { statement: /sluice\.settle_retries/ },
  bury: { statement: /sluice\.bury/ },
  buryUnanswered: { statement: /sluice\.bury/, isUnanswered: true },
  redriven: { statement: /redriven\(/ },
  redrivenUnanswered: { statement: /redriven\(/, isUnanswered: true },
  relay: { statement: /sluice\.relay\(/ },
  relayUnanswered: { statement: /sluice\.relay\(/, isUnanswered: true },
  delayed: { statement: /sluice\.move_delayed/ },
  take: { statement: /sluice\.take_free\(/ },
  takeUnanswered: { statement: /sluice\.take_free\(/, isUnanswered: true },
  lease: { statement: /sluice\.lease_ranges/, isUnanswered: true },
  acknowledge: { statement: /sluice\.acknowledge_leases/ },
  acknowledgeUnanswered: { statement: /sluice\.acknowledge_leases/, isUnanswered: true },
  anything: { statement: /./ },
} as const satisfies Readonly<Record<string, CrashPoint>>;

export type CrashPointName = keyof typeof crashPoints;
export const crashPointNames = Object.keys(crashPoints) as CrashPointName[];
