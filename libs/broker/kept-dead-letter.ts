import type { DeadLetterReason } from "./dead-letter.ts";

/** A message that a group could not handle, as it is kept. */
export interface KeptDeadLetter {
  /** Names the letter; it keeps it when it is redriven and dies again. */
  readonly number: number;
  readonly group: string;
  readonly topic: string;
  readonly partition: number;
  /** Where it was in the log. */
  readonly offset: number;
  readonly id: string;
  readonly key: string | null;
  /** As it is in the log: not decoded by the topic's schema, which it may not fit. */
  readonly value: unknown;
  readonly headers: Readonly<Record<string, string>>;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
  readonly reason: DeadLetterReason;
  readonly error: string | null;
  /** Since it was first handed over, or last redriven. */
  readonly attempts: number;
  readonly diedAt: number;
  /** How often it was redriven and died again. */
  readonly redrives: number;
  /** What was edited, when last and by whom; `undefined` when nothing was. What it was before is kept. */
  readonly edited:
    | { readonly at: number; readonly by: string; readonly originalValue?: unknown; readonly originalHeaders?: unknown }
    | undefined;
}

/** A row of list-dead-letters.sql. */
export interface DeadLetterRow {
  readonly [name: string]: unknown;
  readonly dead_letter: string;
  readonly group: string;
  readonly topic: string;
  readonly partition: number;
  readonly offset: string;
  readonly id: string;
  readonly key: string | null;
  readonly value: string;
  readonly headers: string;
  readonly timestamp_ms: string;
  readonly reason: DeadLetterReason;
  readonly error: string | null;
  readonly attempts: number;
  readonly died_at_ms: string;
  readonly redrives: number;
  readonly original_value: string | null;
  readonly original_headers: string | null;
  readonly edited_at_ms: string | null;
  readonly edited_by: string | null;
}

/** The letter of a row. */
export function toKeptDeadLetter(row: DeadLetterRow): KeptDeadLetter {
  return {
    number: Number(row.dead_letter),
    group: row.group,
    topic: row.topic,
    partition: row.partition,
    offset: Number(row.offset),
    id: row.id,
    key: row.key,
    value: JSON.parse(row.value),
    headers: JSON.parse(row.headers) as Record<string, string>,
    timestamp: Number(row.timestamp_ms),
    reason: row.reason,
    error: row.error,
    attempts: row.attempts,
    diedAt: Number(row.died_at_ms),
    redrives: row.redrives,
    edited:
      row.edited_at_ms === null
        ? undefined
        : {
            at: Number(row.edited_at_ms),
            by: row.edited_by ?? "",
            ...(row.original_value === null ? {} : { originalValue: JSON.parse(row.original_value) }),
            ...(row.original_headers === null ? {} : { originalHeaders: JSON.parse(row.original_headers) }),
          },
  };
}
