import { setTimeout as wait } from "node:timers/promises";
import { isUnstorable, timeMs } from "@sluice/contract";
import { limits, type Problem, problemsError } from "@sluice/kernel";
import { arrayLiteral, type Pool } from "@sluice/store";
import { type DeadLetterReason, deadLetterReasons } from "./dead-letter.ts";
import { type DeadLetterRow, type KeptDeadLetter, toKeptDeadLetter } from "./kept-dead-letter.ts";
import timeStatement from "./sql/database-time.sql" with { type: "text" };
import discardStatement from "./sql/discard.sql" with { type: "text" };
import editStatement from "./sql/edit-dead-letter.sql" with { type: "text" };
import listStatement from "./sql/list-dead-letters.sql" with { type: "text" };
import purgeStatement from "./sql/purge-dead-letters.sql" with { type: "text" };
import redriveStatement from "./sql/redrive.sql" with { type: "text" };
import redriveGroupStatement from "./sql/redrive-group.sql" with { type: "text" };

/** Which dead letters; all that is given must hold. */
export interface DeadLetterFilter {
  readonly group?: string;
  readonly topic?: string;
  readonly reason?: DeadLetterReason;
  /** Died at this time or later; milliseconds since 1970 or a date. */
  readonly since?: Date | number;
  /** Died before this time. */
  readonly until?: Date | number;
  /** Above this number: a page's `next`. Default 0. */
  readonly after?: number;
  /** At most this many, 1 to 1,000; default 100. */
  readonly limit?: number;
}

/** Some dead letters, by number ascending. */
export interface DeadLetterPage {
  readonly letters: readonly KeptDeadLetter[];
  /** What to pass as `after` for the next page; `undefined` when this was the last. */
  readonly next: number | undefined;
}

/** What became of letters that were asked for, by number: each is in one of the lists. */
export interface RedriveResult {
  /** They left, and their messages wait for their groups. */
  readonly redriven: readonly number[];
  /** The same message waits already; the letter stays. */
  readonly waiting: readonly number[];
  /** There is no such letter (any more): redriven or discarded before, or never there. */
  readonly gone: readonly number[];
}

/** How {@link DeadLetters.redriveGroup} goes about it. */
export interface RedriveGroupOptions {
  /** Of this topic alone. */
  readonly topic?: string;
  /** Messages a second at most, 1 to 100,000. Default as fast as it goes. */
  readonly rate?: number;
  /** At most this many. Default all that died before the call. */
  readonly limit?: number;
  /** Ends it early. What was redriven stays so. */
  readonly signal?: AbortSignal;
}

/** A step of a paced redrive lasts this long, so that a group gets its messages evenly. */
const stepMs = 100;
const stepLetters = 1_000;

/** Looks after what groups could not handle. Every act is in sluice.audits, written in its transaction. */
export class DeadLetters {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /**
   * Dead letters by number, a page at a time. Fails with INVALID_OPTIONS, or as any call to the database does.
   *
   * @example
   * const { letters, next } = await sluice.deadLetters.list({ group: "welcome", reason: "exhausted" })
   */
  async list(filter: DeadLetterFilter = {}): Promise<DeadLetterPage> {
    const { limit = 100, reason = "exhausted" } = filter;
    refuse("the filter of dead letters", [
      ...(deadLetterReasons.includes(reason)
        ? []
        : [{ path: "reason", message: `must be one of ${deadLetterReasons.join(", ")}` }]),
      ...timeProblems("since", filter.since),
      ...timeProblems("until", filter.until),
      ...(isCount(limit, 1_000) ? [] : [{ path: "limit", message: "must be a whole number from 1 to 1,000" }]),
      ...(isNumber(filter.after ?? 0) ? [] : [{ path: "after", message: "must be the number of a dead letter" }]),
    ]);
    const rows = await this.#pool.query<DeadLetterRow>("listing dead letters", listStatement, [
      filter.after ?? 0,
      // One more tells whether there is a next page.
      limit + 1,
      filter.group ?? null,
      filter.topic ?? null,
      filter.reason ?? null,
      filter.since === undefined ? null : Number(filter.since),
      filter.until === undefined ? null : Number(filter.until),
    ]);
    const letters = rows.slice(0, limit).map(toKeptDeadLetter);
    return { letters, next: rows.length > limit ? letters.at(-1)?.number : undefined };
  }

  /** One dead letter; `undefined` when there is none of that number (any more). */
  async get(number: number): Promise<KeptDeadLetter | undefined> {
    refuseNumbers([number]);
    const { letters } = await this.list({ after: Math.max(0, number - 1), limit: 1 });
    return letters[0]?.number === number ? letters[0] : undefined;
  }

  /**
   * Changes what a letter will be handed over as; what is not given stays. The value is that of the log: JSON, and base64
   * text in a topic of bytes. The schema is asked when the message is handed over: what does not fit dies again. The
   * letter keeps what it was at first.
   *
   * Fails with INVALID_VALUE and every problem; nothing was changed then.
   */
  async edit(
    number: number,
    change: { readonly value?: unknown; readonly headers?: Readonly<Record<string, string>> },
  ): Promise<"edited" | "gone"> {
    refuseNumbers([number]);
    const value = "value" in change ? jsonOf(change.value) : null;
    const headers = change.headers === undefined ? null : jsonOf(change.headers);
    const problems: Problem[] = [];
    const check = (path: string, text: string | null | undefined, bytes: number) => {
      if (text === undefined) problems.push({ path, message: "has no form as JSON" });
      else if (text !== null && Buffer.byteLength(text) > bytes)
        problems.push({ path, message: `has more than ${bytes} bytes as JSON` });
      else if (text !== null && holdsUnstorable(JSON.parse(text)))
        problems.push({
          path,
          message: "holds a NUL character or a lone surrogate, which Postgres cannot show as text",
        });
    };
    check("value", value, limits.valueBytes);
    check("headers", headers, limits.headersBytes);
    if (Object.values(change.headers ?? {}).some((header) => typeof header !== "string"))
      problems.push({ path: "headers", message: "must be texts" });
    if (problems.length > 0) throw problemsError("INVALID_VALUE", `dead letter ${number} was not edited:`, problems);
    const rows = await this.#pool.query<{ outcome: "edited" | "gone" }>("editing a dead letter", editStatement, [
      number,
      value ?? null,
      headers ?? null,
    ]);
    return rows[0]?.outcome ?? "gone";
  }

  /**
   * Hands letters to their groups once more, and to no other group: each leaves, and its message waits beside the log for
   * the owner of its partition, in one transaction. Letters of one key go back in the order of their offsets. One that
   * fails again is a dead letter again, of the same number. Doing it twice doubles nothing.
   *
   * @param numbers at most 10,000
   */
  async redrive(numbers: number | readonly number[]): Promise<RedriveResult> {
    const outcomes = await this.#each("redriving dead letters", redriveStatement, numbers);
    const of = (outcome: string) => outcomes.filter((row) => row.outcome === outcome).map((row) => row.number);
    return { redriven: of("redriven"), waiting: of("waiting"), gone: of("gone") };
  }

  /**
   * Hands all letters of a group that died before now to it once more, the lowest offsets of each partition first, at a
   * rate if one is given, and resolves with how many. Ended early (by its signal, by a crash), what is left is still a
   * dead letter: call it again. Fails with UNKNOWN_GROUP or UNKNOWN_TOPIC.
   */
  async redriveGroup(group: string, options: RedriveGroupOptions = {}): Promise<number> {
    const { topic, rate, limit = Number.MAX_SAFE_INTEGER, signal } = options;
    refuse(`redriving group ${group}`, [
      ...(rate === undefined || isCount(rate, 100_000)
        ? []
        : [{ path: "rate", message: "must be a whole number from 1 to 100,000" }]),
      ...(isCount(limit, Number.MAX_SAFE_INTEGER)
        ? []
        : [{ path: "limit", message: "must be a whole number above zero" }]),
    ]);
    const [clock] = await this.#pool.query<{ now: string }>("reading the database's clock", timeStatement);
    const beganAt = performance.now();
    let moved = 0;
    while (moved < limit && signal?.aborted !== true) {
      const due =
        rate === undefined ? moved + stepLetters : Math.floor(((performance.now() - beganAt) * rate) / 1_000) + 1;
      const step = Math.min(due - moved, stepLetters, limit - moved);
      if (step > 0) {
        const rows = await this.#pool.query<{ moved: number }>(`redriving group ${group}`, redriveGroupStatement, [
          group,
          topic ?? null,
          step,
          clock?.now ?? null,
        ]);
        const count = rows[0]?.moved ?? 0;
        if (count === 0) break;
        moved += count;
      }
      if (rate !== undefined && moved < limit) await wait(Math.max(stepMs, 1_000 / rate));
    }
    return moved;
  }

  /** Gives letters up for good; the audit keeps where each was in the log. */
  async discard(
    numbers: number | readonly number[],
  ): Promise<{ readonly discarded: readonly number[]; readonly gone: readonly number[] }> {
    const outcomes = await this.#each("discarding dead letters", discardStatement, numbers);
    const of = (outcome: string) => outcomes.filter((row) => row.outcome === outcome).map((row) => row.number);
    return { discarded: of("discarded"), gone: of("gone") };
  }

  /**
   * Gives up letters that died before a time, and resolves with how many. Nothing does this by itself. Fails with INVALID_OPTIONS,
   * or as any call to the database does; what was purged by then is gone.
   */
  async purge(
    before: Date | number,
    options: { readonly group?: string; readonly topic?: string } = {},
  ): Promise<number> {
    refuse("purging dead letters", timeProblems("before", before));
    let purged = 0;
    for (;;) {
      const rows = await this.#pool.query<{ purged: number }>("purging dead letters", purgeStatement, [
        Number(before),
        options.group ?? null,
        options.topic ?? null,
      ]);
      const count = rows[0]?.purged ?? 0;
      purged += count;
      if (count === 0) return purged;
    }
  }

  async #each(
    what: string,
    statement: string,
    numbers: number | readonly number[],
  ): Promise<readonly { readonly number: number; readonly outcome: string }[]> {
    const list = typeof numbers === "number" ? [numbers] : numbers;
    refuseNumbers(list);
    const rows = await this.#pool.query<{ dead_letter: string; outcome: string }>(what, statement, [
      arrayLiteral(list),
    ]);
    return rows.map((row) => ({ number: Number(row.dead_letter), outcome: row.outcome }));
  }
}

const isCount = (value: unknown, most: number) =>
  Number.isInteger(value) && Number(value) >= 1 && Number(value) <= most;
const isNumber = (value: unknown) => Number.isSafeInteger(value) && Number(value) >= 0;

function timeProblems(path: string, time: Date | number | undefined): readonly Problem[] {
  return time === undefined || timeMs(time) !== undefined
    ? []
    : [{ path, message: "must be a time from 1970 to 9999" }];
}

/** `undefined` for what has no form as JSON: functions, cycles, a bigint. */
function jsonOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}

function refuse(subject: string, problems: readonly Problem[]): void {
  if (problems.length > 0)
    throw problemsError("INVALID_OPTIONS", `${subject} is not right; nothing was changed:`, problems);
}

function refuseNumbers(numbers: readonly number[]): void {
  refuse("the list of dead letters", [
    ...(numbers.length <= 10_000 ? [] : [{ path: "", message: "has more than 10,000 entries" }]),
    ...(numbers.every(isNumber) ? [] : [{ path: "", message: "holds what is no number of a dead letter" }]),
  ]);
}

function holdsUnstorable(value: unknown): boolean {
  if (typeof value === "string") return isUnstorable(value);
  if (typeof value !== "object" || value === null) return false;
  return Object.entries(value).some(([name, part]) => isUnstorable(name) || holdsUnstorable(part));
}
