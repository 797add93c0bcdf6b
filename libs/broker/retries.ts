import { arrayLiteral, type Pool } from "@sluice/store";
import { type DeadLetter, deadLetterJson } from "./dead-letter.ts";
import type { KeptMessage, Lifetime } from "./kept-message.ts";
import type { OwnedPosition } from "./redriven.ts";
import beginStatement from "./sql/begin-retries.sql" with { type: "text" };
import buryStatement from "./sql/bury.sql" with { type: "text" };
import countStatement from "./sql/count-attempts.sql" with { type: "text" };
import dropStatement from "./sql/drop-messages.sql" with { type: "text" };
import endStatement from "./sql/end-retries.sql" with { type: "text" };
import handOutStatement from "./sql/hand-out.sql" with { type: "text" };
import putOffStatement from "./sql/put-off.sql" with { type: "text" };
import waitingStatement from "./sql/waiting-retries.sql" with { type: "text" };

/** A message that failed, whole, and when it is to be handed over again. */
export interface PutOff extends KeptMessage, Lifetime {
  /** Whether it was not put off before. */
  readonly isFirst: boolean;
  /** How often it was handed over. */
  readonly attempt: number;
  readonly delayMs: number;
  /** What waits for it. */
  readonly blocks: "partition" | "key" | "nothing";
  readonly error: string;
  /** Whether a transaction of its handler may have committed, and only the answer was lost. Then the database is asked first. */
  readonly mayBeDone: boolean;
}

/** A {@link PutOff} of a position, under the epoch of its owner. */
export interface OwnedPutOff {
  readonly owner: OwnedPosition;
  readonly message: PutOff;
}

/** A message that waits, by its place, under the epoch of the position's owner. */
export interface OwnedOffset {
  readonly owner: OwnedPosition;
  readonly offset: number;
}

/** An {@link OwnedOffset}, and the attempt that begins. */
export interface OwnedAttempt extends OwnedOffset {
  readonly attempt: number;
}

/** A message that waits to be handed over again, as a new owner finds it. */
export interface WaitingRetry {
  readonly offset: number;
  readonly key: string | null;
  /** How often it was handed over. */
  readonly attempt: number;
  /** It was in a handler's hands when its owner ended. */
  readonly inHand: boolean;
  /** Zero when it is due. */
  readonly dueInMs: number;
}

/** A message that was put off, with the attempt that begins now counted. */
export interface BegunRetry extends KeptMessage, Lifetime {
  readonly attempt: number;
  /** Why it failed the last time. */
  readonly error: string;
}

/** What became of a {@link PutOff}: its row waits, or it was done after all, or the position has another owner. */
export type PutOffOutcome = "put off" | "already" | "fenced";

/** What became of a message that was given up: it is a dead letter, or it was done or dead after all, or the position has another owner. */
export type BuryOutcome = "buried" | "already" | "fenced";

/** What became of counting an attempt: it may be made, the message is done already, or the position has another owner. */
export type CountOutcome = "counted" | "gone" | "fenced";

/**
 * Messages that wait to be handed over again: rows of the database, so that a retry and the count of its attempts
 * survive the process. Every write is fenced by its owner's epoch, and takes messages of any positions: one statement does for
 * all partitions of a process.
 */
export class Retries {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Keeps messages that failed; their positions may pass those that are put off. One outcome for each, in order. */
  async putOff(entries: readonly OwnedPutOff[]): Promise<readonly PutOffOutcome[]> {
    const rows = await this.#pool.query<{ number: number; outcome: "already" | "fenced" }>(
      "putting failed messages off",
      putOffStatement,
      [arrayLiteral(positionsOf(entries)), JSON.stringify(entries.map(toRow))],
    );
    return withExceptions<PutOffOutcome>("put off", entries.length, rows);
  }

  /** Counts an attempt of each before it is made; once more changes nothing. One outcome for each, in order. */
  async count(entries: readonly OwnedAttempt[]): Promise<readonly CountOutcome[]> {
    const rows = await this.#pool.query<{ number: number; outcome: "gone" | "fenced" }>(
      "counting attempts",
      countStatement,
      ownedAttempts(entries),
    );
    return withExceptions<CountOutcome>("counted", entries.length, rows);
  }

  /**
   * Counts an attempt of each before it is made, and gives it, whole; once more changes nothing. `undefined` for one that is done already. One
   * outcome for each, in order.
   */
  async begin(entries: readonly OwnedAttempt[]): Promise<readonly (BegunRetry | undefined | "fenced")[]> {
    const rows = await this.#pool.query<{
      number: number;
      epoch_holds: boolean;
      attempt: number;
      id: string;
      key: string | null;
      value: string;
      headers: string;
      timestamp_ms: number;
      error: string;
      appended_ms: number;
      time_to_live_ms: number | null;
    }>("beginning retries", beginStatement, ownedAttempts(entries));
    const found = new Map(rows.map((row) => [row.number, row]));
    return entries.map(({ offset }, index) => {
      const row = found.get(index + 1);
      if (row === undefined) return undefined;
      if (!row.epoch_holds) return "fenced";
      const { attempt, id, key, value, headers, timestamp_ms, error } = row;
      return {
        offset,
        attempt,
        id,
        key,
        value,
        headers: JSON.parse(headers) as Record<string, string>,
        timestamp: timestamp_ms,
        error,
        appendedAtMs: row.appended_ms,
        timeToLiveMs: row.time_to_live_ms,
      };
    });
  }

  /** Forgets messages that are over; of each, whether its position is still the caller's, in order. */
  end(entries: readonly OwnedOffset[]): Promise<readonly ("over" | "fenced")[]> {
    return this.#settle("ending retries", endStatement, entries);
  }

  /**
   * Drops messages that are given up, put off before or not: nobody is handed them again, although their position has not passed them. Of each,
   * whether its position is still the caller's, in order.
   */
  drop(entries: readonly OwnedOffset[]): Promise<readonly ("over" | "fenced")[]> {
    return this.#settle("dropping messages", dropStatement, entries);
  }

  /**
   * Notes that a message which has seen processes end is handed over, before it is; gives how often that makes, counting
   * `first` for the first time, or `"fenced"`.
   */
  async handOut({ position, epoch }: OwnedPosition, offset: number, first: number): Promise<number | "fenced"> {
    const rows = await this.#pool.query<{ attempt: number | null }>(
      "handing a suspicious message over",
      handOutStatement,
      [position, epoch, offset, first],
    );
    return rows[0]?.attempt ?? "fenced";
  }

  /** Keeps a message that is given up, put off before or not, as a dead letter. Its row goes with that. */
  async bury({ position, epoch }: OwnedPosition, letter: DeadLetter): Promise<BuryOutcome> {
    const rows = await this.#pool.query<{ outcome: BuryOutcome }>("keeping a dead letter", buryStatement, [
      position,
      epoch,
      deadLetterJson(letter),
    ]);
    return rows[0]?.outcome ?? "fenced";
  }

  /**
   * What waits at a position: what was in hand when its last owner ended comes first. All of it, however much: a takeover has counted all of
   * it as done, so what its owner does not know of is looked at by nobody.
   */
  async waiting(position: number): Promise<readonly WaitingRetry[]> {
    const rows = await this.#pool.query<{
      offset: string;
      key: string | null;
      attempt: number;
      in_hand: boolean;
      due_in_ms: number | null;
    }>("looking for retries", waitingStatement, [position]);
    return rows.map((row) => ({
      offset: Number(row.offset),
      key: row.key,
      attempt: row.attempt,
      inHand: row.in_hand,
      dueInMs: row.due_in_ms ?? 0,
    }));
  }

  async #settle(
    what: string,
    statement: string,
    entries: readonly OwnedOffset[],
  ): Promise<readonly ("over" | "fenced")[]> {
    const rows = await this.#pool.query<{ number: number }>(what, statement, ownedOffsets(entries));
    const exceptions = rows.map(({ number }) => ({ number, outcome: "fenced" as const }));
    return withExceptions<"over" | "fenced">("over", entries.length, exceptions);
  }
}

/** One outcome for all, but for those that the database named: nearly always none. They are numbered from 1. */
function withExceptions<Outcome>(
  usual: Outcome,
  count: number,
  exceptions: readonly { readonly number: number; readonly outcome: Outcome }[],
): readonly Outcome[] {
  const outcomes = new Array<Outcome>(count).fill(usual);
  for (const { number, outcome } of exceptions) outcomes[number - 1] = outcome;
  return outcomes;
}

/** A message for sluice.keep_failures: entries are numbered from 1. */
function toRow({ owner, message }: OwnedPutOff, index: number): Readonly<Record<string, unknown>> {
  return {
    number: index + 1,
    position: owner.position,
    epoch: owner.epoch,
    offset: message.offset,
    first: message.isFirst,
    doubt: message.mayBeDone,
    attempt: message.attempt,
    delay_ms: message.delayMs,
    blocks: message.blocks,
    id: message.id,
    key: message.key,
    value: message.value,
    headers: message.headers,
    timestamp_ms: message.timestamp,
    error: message.error,
    appended_ms: message.appendedAtMs,
    time_to_live_ms: message.timeToLiveMs,
  };
}

function positionsOf(entries: readonly { readonly owner: OwnedPosition }[]): number[] {
  return [...new Set(entries.map(({ owner }) => owner.position))];
}

function ownedOffsets(entries: readonly OwnedOffset[]): string[] {
  return [
    arrayLiteral(entries.map(({ owner }) => owner.position)),
    arrayLiteral(entries.map(({ owner }) => owner.epoch)),
    arrayLiteral(entries.map(({ offset }) => offset)),
  ];
}

function ownedAttempts(entries: readonly OwnedAttempt[]): string[] {
  return [...ownedOffsets(entries), arrayLiteral(entries.map(({ attempt }) => attempt))];
}
