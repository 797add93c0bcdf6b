import type { Comparison, Measurement } from "./comparison.ts";
import type { ChannelCheck } from "./exactly-once.ts";

const explanations = {
  serial: "row, then mail, then SMS",
  parallel: "row, then mail and SMS at once",
  queued: "row and message in one transaction",
} as const;

/** The comparison for a terminal of 80 columns: the times, what they are made of, and what arrived. */
export function reportText(comparison: Comparison): string {
  const { run, signups, perSecond, stepMs, measurements, arrivals } = comparison;
  const rows = (isRowSlow: boolean) =>
    measurements.filter((measurement) => measurement.isRowSlow === isRowSlow).map(measurementLine);
  return [
    `Response time of one sign-up: ${run}, ${signups} requests each way, ${perSecond} a second`,
    "",
    headerLine(`every step takes ${stepMs} ms: row, mail, SMS`),
    ...rows(true),
    "",
    headerLine(`mail and SMS ${stepMs} ms, the row as fast as it is`),
    ...rows(false),
    "",
    "Real: HTTP, the transactions, the message log, SMTP, the provider's HTTP protocol.",
    `Simulated: mail server and SMS provider run on this machine and wait ${stepMs} ms before`,
    `they accept; in the upper half the database sleeps ${stepMs} ms as part of the row's write.`,
    "The last line is POST /signup itself; the others do the same work under /compare.",
    "Load, service and providers share one process; a warm-up goes before, unmeasured.",
    "",
    "Arrived, all ways together",
    channelLine("mails", arrivals.email),
    channelLine("SMS", arrivals.sms),
    `  log    ${arrivals.messages} messages for ${arrivals.queued} users who came through the queue`,
    `  lag    ${arrivals.isCaughtUp ? "both groups have committed all of it" : "not all of it was committed in time"}`,
    ...problemLines("mail", arrivals.email),
    ...problemLines("SMS", arrivals.sms),
    "",
    arrivals.passed ? "PASSED: exactly one mail and one SMS for everybody." : "FAILED: see above.",
    "",
  ].join("\n");
}

function headerLine(title: string): string {
  return `${title.padEnd(50)}${"p50".padStart(9)} ${"p99".padStart(9)}`;
}

function measurementLine({ way, p50Ms, p99Ms }: Measurement): string {
  return `  ${way.padEnd(9)} ${explanations[way].padEnd(37)} ${milliseconds(p50Ms)} ${milliseconds(p99Ms)}`;
}

function milliseconds(value: number): string {
  return `${value.toFixed(1)} ms`.padStart(9);
}

function channelLine(name: string, check: ChannelCheck): string {
  const earlier = check.earlier === 0 ? "" : ` (and ${check.earlier} of earlier runs)`;
  return `  ${name.padEnd(6)} ${check.exactlyOnce} of ${check.expected} users have exactly one${earlier}`;
}

function problemLines(name: string, check: ChannelCheck): string[] {
  const list = (what: string, recipients: readonly string[]) =>
    recipients.length === 0
      ? []
      : [`  ${what} ${recipients.length}: ${recipients.slice(0, 10).join(", ")}${recipients.length > 10 ? ", …" : ""}`];
  return [
    ...list(`${name} missing for`, check.missing),
    ...list(`${name} more than once for`, check.doubled),
    ...list(`${name} for somebody who never signed up:`, check.strangers),
  ];
}
