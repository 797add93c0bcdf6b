import { arrayLiteral, type Pool } from "@sluice/store";
import type { DeadLetter } from "./dead-letter.ts";
import type { ClaimedMessages, RetryClaim, TakenRetry } from "./shared-retries.ts";
import buryStatement from "./sql/bury-claimed.sql" with { type: "text" };
import claimStatement from "./sql/claim-redriven.sql" with { type: "text" };
import finishStatement from "./sql/finish-redriven.sql" with { type: "text" };
import nextStatement from "./sql/next-redriven.sql" with { type: "text" };
import putOffStatement from "./sql/put-off-redriven.sql" with { type: "text" };
import renewStatement from "./sql/renew-redriven.sql" with { type: "text" };

/** The redriven messages of shared groups: beside the log, and for any member that has room. */
export class SharedRedriven implements ClaimedMessages {
  readonly #pool: Pool;
  readonly #leaseMs: number;

  /** @param leaseMs how long one is in a hand without being renewed */
  constructor(pool: Pool, leaseMs: number) {
    this.#pool = pool;
    this.#leaseMs = leaseMs;
  }

  async claim(member: number, positions: readonly number[], most: number): Promise<readonly TakenRetry[]> {
    const rows = await this.#pool.query<{
      position: number;
      offset: string;
      attempts: number;
      claim: string;
      id: string;
      key: string | null;
      value: string;
      headers: string;
      timestamp_ms: string;
    }>("taking redriven messages", claimStatement, [member, arrayLiteral(positions), most, this.#leaseMs]);
    return rows.map(({ position, attempts, claim, id, key, value, ...row }) => {
      const offset = Number(row.offset);
      const headers = JSON.parse(row.headers) as Record<string, string>;
      const message = { offset, id, key, value, headers, timestamp: Number(row.timestamp_ms) };
      return { position, offset, claim: Number(claim), attempt: attempts, message };
    });
  }

  async nextInMs(positions: readonly number[]): Promise<number | undefined> {
    const rows = await this.#pool.query<{ in_ms: string | null }>("looking for redriven messages", nextStatement, [
      arrayLiteral(positions),
    ]);
    const inMs = rows[0]?.in_ms ?? null;
    return inMs === null ? undefined : Number(inMs);
  }

  async finish({ position, offset, claim }: RetryClaim): Promise<void> {
    await this.#pool.query("finishing a redriven message", finishStatement, [position, offset, claim]);
  }

  /** It is the dead letter again that it was, under its number. */
  async bury({ position, offset, claim }: RetryClaim, { reason, error, attempts }: DeadLetter): Promise<void> {
    await this.#pool.query("keeping a dead letter again", buryStatement, [
      position,
      offset,
      claim,
      reason,
      error,
      attempts,
    ]);
  }

  async putOff(
    { position, offset, claim }: RetryClaim,
    { delayMs, attempt }: { readonly delayMs: number; readonly attempt?: number },
  ): Promise<boolean> {
    const rows = await this.#pool.query("putting a redriven message off", putOffStatement, [
      position,
      offset,
      claim,
      delayMs,
      attempt ?? null,
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
}
