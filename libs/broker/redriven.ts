import { arrayLiteral, type Pool } from "@sluice/store";
import type { KeptMessage } from "./kept-message.ts";
import beginStatement from "./sql/begin-redriven.sql" with { type: "text" };
import buryStatement from "./sql/bury-redriven.sql" with { type: "text" };
import markStatement from "./sql/mark-redriven.sql" with { type: "text" };
import pauseStatement from "./sql/pause-position.sql" with { type: "text" };
import uncountStatement from "./sql/uncount-redriven.sql" with { type: "text" };
import waitingStatement from "./sql/waiting-redriven.sql" with { type: "text" };

/** A position that its owner acts for, under its epoch. */
export interface OwnedPosition {
  readonly position: number;
  readonly epoch: number;
}

/** A message that its group handles once more, beside the log. */
export interface RedrivenMessage extends KeptMessage {
  readonly number: number;
  /** How often it was handed over since it was redriven. */
  readonly attempts: number;
}

/** What became of settling a redriven message; `already`: it waits no more. */
export type SettleOutcome = "done" | "already" | "fenced";

/** The owner's side of sluice.redriven: what waits, attempts counted beforehand, and what became of them; all fenced. */
export class RedrivenMessages {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** What waits for a position, the lowest offsets first, without those of these numbers. */
  async waiting(position: number, limit: number, without: Iterable<number>): Promise<readonly RedrivenMessage[]> {
    const rows = await this.#pool.query<{
      redriven: string;
      offset: string;
      attempts: number;
      id: string;
      key: string | null;
      value: string;
      headers: string;
      timestamp_ms: string;
    }>("looking for redriven messages", waitingStatement, [position, limit, arrayLiteral([...without])]);
    return rows.map((row) => ({
      number: Number(row.redriven),
      offset: Number(row.offset),
      attempts: row.attempts,
      id: row.id,
      key: row.key,
      value: row.value,
      headers: JSON.parse(row.headers) as Record<string, string>,
      timestamp: Number(row.timestamp_ms),
    }));
  }

  /**
   * Counts an attempt before it is made, and gives which it is: the one that is asked for, or an earlier one where the last did not count after
   * all. `gone`: the message waits no more. Repeated (after an answer that was lost), it changes nothing.
   */
  async begin(
    { position, epoch }: OwnedPosition,
    number: number,
    attempt: number,
  ): Promise<number | "gone" | "fenced"> {
    const rows = await this.#pool.query<{ attempts: number }>(
      "counting an attempt of a redriven message",
      beginStatement,
      [position, epoch, number, attempt],
    );
    const attempts = rows[0]?.attempts ?? -1;
    return attempts < 0 ? "fenced" : attempts === 0 ? "gone" : attempts;
  }

  /** The attempt that was begun last, this one, does not count. */
  async uncount({ position }: OwnedPosition, number: number, attempt: number): Promise<void> {
    await this.#pool.query("giving a redriven message back", uncountStatement, [position, number, attempt]);
  }

  /** It is done. Repeated (after an answer that was lost), it changes nothing. */
  async done({ position, epoch }: OwnedPosition, number: number): Promise<SettleOutcome> {
    const rows = await this.#pool.query<{ outcome: SettleOutcome }>("settling a redriven message", markStatement, [
      position,
      epoch,
      number,
    ]);
    return rows[0]?.outcome ?? "fenced";
  }

  /** It could not be handled, and is a dead letter again. Repeated, it changes nothing. */
  async bury(
    { position, epoch }: OwnedPosition,
    number: number,
    failure: {
      readonly reason: "exhausted" | "rejected" | "schema";
      readonly error: string;
      readonly attempts: number;
    },
  ): Promise<SettleOutcome> {
    const rows = await this.#pool.query<{ outcome: SettleOutcome }>("keeping a dead letter again", buryStatement, [
      position,
      epoch,
      number,
      failure.reason,
      failure.error,
      failure.attempts,
    ]);
    return rows[0]?.outcome ?? "fenced";
  }

  /** Pauses a position on its owner's behalf, until the group is resumed. */
  async pause({ position, epoch }: OwnedPosition, reason: string): Promise<"paused" | "fenced"> {
    const rows = await this.#pool.query<{ outcome: "paused" | "fenced" }>("pausing a partition", pauseStatement, [
      position,
      epoch,
      reason,
    ]);
    return rows[0]?.outcome ?? "fenced";
  }
}
