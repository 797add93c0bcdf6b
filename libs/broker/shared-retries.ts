import { arrayLiteral, type Pool } from "@sluice/store";
import { type DeadLetter, deadLetterParameters } from "./dead-letter.ts";
import type { KeptMessage } from "./kept-message.ts";
import type { TopicPause } from "./shared-leases.ts";
import buryStatement from "./sql/bury-retry.sql" with { type: "text" };
import claimStatement from "./sql/claim-retries.sql" with { type: "text" };
import finishStatement from "./sql/finish-retries.sql" with { type: "text" };
import nextStatement from "./sql/next-retry.sql" with { type: "text" };
import pauseStatement from "./sql/put-off-and-pause.sql" with { type: "text" };
import putOffStatement from "./sql/put-off-retry.sql" with { type: "text" };
import renewStatement from "./sql/renew-retries.sql" with { type: "text" };
import resumeStatement from "./sql/resume-paused.sql" with { type: "text" };

/** A message that failed before and is in a member's hand again. */
export interface RetryClaim {
  readonly position: number;
  readonly offset: number;
  /** The right to write in its name. */
  readonly claim: number;
}

/** One that was just taken in hand. */
export interface TakenRetry extends RetryClaim {
  /** Attempts that were begun, this one included. */
  readonly attempt: number;
  /** The message itself, where it is not to be read from the log. */
  readonly message?: KeptMessage;
}

/** Messages of a shared group that wait in rows of their own, and go from hand to hand. */
export interface ClaimedMessages {
  /** Takes messages in hand that are due; each is an attempt, counted before it is made. None of what is paused. */
  claim(member: number, positions: readonly number[], most: number): Promise<readonly TakenRetry[]>;
  /** In how long the next one is due, in milliseconds; `undefined` when none waits. What is paused does not count. */
  nextInMs(positions: readonly number[]): Promise<number | undefined>;
  /** It is over. */
  finish(claim: RetryClaim): Promise<void>;
  /** It becomes a dead letter, unless it was done in its handler's transaction after all, or is in another hand. */
  bury(claim: RetryClaim, letter: DeadLetter): Promise<void>;
  /**
   * It is to be tried again after `delayMs`. Resolves with false when there is nothing to put off: it was done in its handler's
   * transaction after all, or is in another hand.
   */
  putOff(
    claim: RetryClaim,
    options: { readonly delayMs: number; readonly error?: string; readonly attempt?: number },
  ): Promise<boolean>;
  /** Renews claims, and gives those that still hold. */
  renew(claims: readonly RetryClaim[]): Promise<ReadonlySet<number>>;
}

/** The messages of shared groups that failed: a row each, which goes from hand to hand. */
export class SharedRetries implements ClaimedMessages {
  readonly #pool: Pool;
  readonly #leaseMs: number;

  /** @param leaseMs how long one is in a hand without being renewed */
  constructor(pool: Pool, leaseMs: number) {
    this.#pool = pool;
    this.#leaseMs = leaseMs;
  }

  async claim(member: number, positions: readonly number[], most: number): Promise<readonly TakenRetry[]> {
    const rows = await this.#pool.query<{ position: number; offset: string; attempt: number; claim: string }>(
      "taking messages to try again",
      claimStatement,
      [member, arrayLiteral(positions), most, this.#leaseMs],
    );
    return rows.map((row) => ({ ...row, offset: Number(row.offset), claim: Number(row.claim) }));
  }

  async nextInMs(positions: readonly number[]): Promise<number | undefined> {
    const rows = await this.#pool.query<{ in_ms: string | null }>("looking for messages to try again", nextStatement, [
      arrayLiteral(positions),
    ]);
    const inMs = rows[0]?.in_ms ?? null;
    return inMs === null ? undefined : Number(inMs);
  }

  async finish(claim: RetryClaim): Promise<void> {
    await this.finishAll([claim]);
  }

  /** These are over. */
  async finishAll(claims: readonly RetryClaim[]): Promise<void> {
    await this.#pool.query("finishing messages", finishStatement, [
      arrayLiteral(claims.map(({ position }) => position)),
      arrayLiteral(claims.map(({ offset }) => offset)),
      arrayLiteral(claims.map(({ claim }) => claim)),
    ]);
  }

  async bury({ position, offset, claim }: RetryClaim, letter: DeadLetter): Promise<void> {
    await this.#pool.query("keeping a dead letter", buryStatement, [
      ...deadLetterParameters(letter),
      position,
      offset,
      claim,
    ]);
  }

  async putOff(
    { position, offset, claim }: RetryClaim,
    options: { readonly delayMs: number; readonly error?: string; readonly attempt?: number },
  ): Promise<boolean> {
    const rows = await this.#pool.query("putting a message off again", putOffStatement, [
      position,
      offset,
      claim,
      options.delayMs,
      options.error ?? null,
      options.attempt ?? null,
    ]);
    return rows.length > 0;
  }

  async renew(claims: readonly RetryClaim[]): Promise<ReadonlySet<number>> {
    const rows = await this.#pool.query<{ claim: string }>("renewing claims", renewStatement, [
      arrayLiteral(claims.map(({ position }) => position)),
      arrayLiteral(claims.map(({ offset }) => offset)),
      arrayLiteral(claims.map(({ claim }) => claim)),
      this.#leaseMs,
    ]);
    return new Set(rows.map(({ claim }) => Number(claim)));
  }

  /** It begins anew when its group is resumed, which is paused in the topic with it. Otherwise as {@link putOff}. */
  async pause({ position, offset, claim }: RetryClaim, error: string, pause: TopicPause): Promise<boolean> {
    const rows = await this.#pool.query("pausing a group", pauseStatement, [
      position,
      offset,
      claim,
      error,
      pause.group,
      pause.topic,
      pause.reason,
    ]);
    return rows.length > 0;
  }

  /** Makes due what a consumer of an earlier version paused on, which told nobody. */
  async resumePaused(positions: readonly number[]): Promise<void> {
    await this.#pool.query("resuming paused messages", resumeStatement, [arrayLiteral(positions)]);
  }
}
