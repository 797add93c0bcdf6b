import type { Pool } from "@sluice/store";
import statement from "./sql/report-hours.sql" with { type: "text" };

/** What a member applies of a consumer's hours. */
export interface AppliedHours {
  readonly group: number;
  readonly topic: number;
  /** The window's name; `null`: none is in force. */
  readonly window: string | null;
  readonly isOpen: boolean;
  readonly concurrency: number;
  /** For people. */
  readonly rate: string | null;
  /** In milliseconds since 1970; 0: it has always been so. */
  readonly sinceMs: number;
  /** Infinity: for ever. */
  readonly untilMs: number;
}

/** Writes down what a member applies, for whoever looks at sluice.hours. */
export async function reportHours(pool: Pool, member: number, applied: AppliedHours): Promise<void> {
  await pool.query("reporting hours", statement, [
    member,
    applied.group,
    applied.topic,
    applied.window,
    applied.isOpen,
    applied.concurrency,
    applied.rate,
    applied.sinceMs === 0 ? null : applied.sinceMs,
    Number.isFinite(applied.untilMs) ? applied.untilMs : null,
  ]);
}
