import { comparisons } from "../database.ts";
import type { Service } from "../service.ts";
import { type ArrivalCheck, checkArrivals } from "./exactly-once.ts";
import { Crowd, percentile, postAtRate } from "./load.ts";
import { reportText } from "./report-text.ts";
import { stepMs } from "./routes.ts";

/** The three ways, in the order in which they are compared. */
export const ways = ["serial", "parallel", "queued"] as const;

/** Response times of one way. */
export interface Measurement {
  readonly way: (typeof ways)[number];
  /** Whether the write of the row was slowed down to one simulated step. */
  readonly isRowSlow: boolean;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** What one comparison found. */
export interface Comparison {
  readonly run: string;
  readonly signups: number;
  readonly perSecond: number;
  readonly stepMs: number;
  readonly measurements: readonly Measurement[];
  readonly arrivals: ArrivalCheck;
}

/** How the comparison is made. */
export interface ComparisonOptions {
  /** Requests per way; default 200. */
  readonly signups?: number;
  /** Requests per second; default 80. */
  readonly perSecond?: number;
  /** How long the mails and SMS may take to arrive after the last request. Default 20 s. */
  readonly deadlineMs?: number;
}

/**
 * Signs people up through the running service in every way, waits until all has arrived, and compares what arrived with
 * what had to. The report is kept in the database for the page /report.
 *
 * Fails when a request fails; what is missing or doubled is no failure but part of the result.
 */
export async function compare(
  service: Service,
  options: ComparisonOptions = {},
): Promise<{ passed: boolean; report: string }> {
  const { signups = 200, perSecond = 80, deadlineMs = 20_000 } = options;
  const crowd = new Crowd(`run-${crypto.randomUUID().slice(0, 8)}`);
  const people = (count: number) => Array.from({ length: count }, () => crowd.next());

  // Opens as many connections as this rate needs, and runs the code until it is compiled. These sign-ups are checked
  // like all others, but not measured.
  const warmUp = Math.round(signups * 0.4);
  for (const way of ways) await postAtRate(`${service.url}/compare/${way}?row=slow`, people(warmUp), perSecond);

  const measurements: Measurement[] = [];
  for (const isRowSlow of [true, false]) {
    for (const way of ways) {
      const isTheRealThing = way === "queued" && !isRowSlow;
      const path = isTheRealThing ? "/signup" : `/compare/${way}${isRowSlow ? "?row=slow" : ""}`;
      const timesMs = await postAtRate(`${service.url}${path}`, people(signups), perSecond);
      measurements.push({ way, isRowSlow, p50Ms: percentile(timesMs, 0.5), p99Ms: percentile(timesMs, 0.99) });
    }
  }

  const arrivals = await checkArrivals(service, crowd, deadlineMs);
  const report = reportText({ run: crowd.run, signups, perSecond, stepMs, measurements, arrivals });
  await service.database.orm.insert(comparisons).values({ run: crowd.run, passed: arrivals.passed, report });
  return { passed: arrivals.passed, report };
}
