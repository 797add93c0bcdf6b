import { arrayLiteral, type Pool } from "@sluice/store";
import type { KeptMessage } from "./kept-message.ts";
import type { OwnedPosition } from "./redriven.ts";
import beginStatement from "./sql/begin-retries.sql" with { type: "text" };
import endStatement from "./sql/end-retries.sql" with { type: "text" };
import handOutStatement from "./sql/hand-out.sql" with { type: "text" };
import putOffStatement from "./sql/put-off.sql" with { type: "text" };
import waitingStatement from "./sql/waiting-retries.sql" with { type: "text" };

/** A message that failed, whole, and when it is to be handed over again. */
export interface PutOff extends KeptMessage {
  /** Whether it was not put off before. */
  readonly isFirst: boolean;
  /** How often it was handed over. */
  readonly attempt: number;
  readonly delayMs: number;
  /** What waits for it. */
  readonly blocks: "partition" | "key" | "nothing";
  readonly error: string;
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
export interface BegunRetry extends KeptMessage {
  readonly attempt: number;
  /** Why it failed the last time. */
  readonly error: string;
}

/** What became of a {@link PutOff}: its row waits, or it was done after all, or the position has another owner. */
export type PutOffOutcome = "put off" | "already" | "fenced";

/**
 * Messages that wait to be handed over again: rows of the database, so that a retry and the count of its attempts
 * survive the process. Every write is fenced by the owner's epoch.
 */
export class Retries {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Keeps messages that failed; the position may pass those that are put off. One outcome for each, in order. */
  async putOff({ position, epoch }: OwnedPosition, messages: readonly PutOff[]): Promise<readonly PutOffOutcome[]> {
    const rows = await this.#pool.query<{ offset: string; outcome: "put off" | "already" }>(
      "putting failed messages off",
      putOffStatement,
      [position, epoch, JSON.stringify(messages.map(toRow))],
    );
    const outcomes = new Map(rows.map((row) => [Number(row.offset), row.outcome]));
    return messages.map(({ offset }) => outcomes.get(offset) ?? "fenced");
  }

  /** Counts an attempt of each before it is made. `undefined` for one that is done already; `"fenced"` for all together. */
  async begin(
    { position, epoch }: OwnedPosition,
    offsets: readonly number[],
  ): Promise<readonly (BegunRetry | undefined)[] | "fenced"> {
    const rows = await this.#pool.query<{
      epoch_holds: boolean;
      offset: string;
      attempt: number;
      id: string;
      key: string | null;
      value: string;
      headers: string;
      timestamp_ms: number;
      error: string;
    }>("beginning retries", beginStatement, [position, epoch, arrayLiteral(offsets)]);
    if (rows[0]?.epoch_holds === false) return "fenced";
    const begun = new Map(
      rows.map((row) => [
        Number(row.offset),
        {
          offset: Number(row.offset),
          attempt: row.attempt,
          id: row.id,
          key: row.key,
          value: row.value,
          headers: JSON.parse(row.headers) as Record<string, string>,
          timestamp: row.timestamp_ms,
          error: row.error,
        },
      ]),
    );
    return offsets.map((offset) => begun.get(offset));
  }

  /** Forgets messages that are over. Resolves with whether the position is still the caller's. */
  async end({ position, epoch }: OwnedPosition, offsets: readonly number[]): Promise<boolean> {
    const rows = await this.#pool.query<{ epoch_holds: boolean }>("ending retries", endStatement, [
      position,
      epoch,
      arrayLiteral(offsets),
    ]);
    return rows[0]?.epoch_holds ?? false;
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

  /** What waits at a position, `limit` at most: what was in hand when its last owner ended comes first. */
  async waiting(position: number, limit: number): Promise<readonly WaitingRetry[]> {
    const rows = await this.#pool.query<{
      offset: string;
      key: string | null;
      attempt: number;
      in_hand: boolean;
      due_in_ms: number | null;
    }>("looking for retries", waitingStatement, [position, limit]);
    return rows.map((row) => ({
      offset: Number(row.offset),
      key: row.key,
      attempt: row.attempt,
      inHand: row.in_hand,
      dueInMs: row.due_in_ms ?? 0,
    }));
  }
}

function toRow(message: PutOff): Readonly<Record<string, unknown>> {
  return {
    offset: message.offset,
    first: message.isFirst,
    attempt: message.attempt,
    delay_ms: message.delayMs,
    blocks: message.blocks,
    id: message.id,
    key: message.key,
    value: message.value,
    headers: message.headers,
    timestamp_ms: message.timestamp,
    error: message.error,
  };
}
