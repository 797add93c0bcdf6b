import type { HalfOutcome } from "@sluice/contract";
import { SluiceError } from "@sluice/kernel";
import { type Pool, textArrayLiteral } from "@sluice/store";
import claimStatement from "./sql/claim-halves.sql" with { type: "text" };
import commitStatement from "./sql/commit-half.sql" with { type: "text" };
import noteStatement from "./sql/note-half.sql" with { type: "text" };
import prepareStatement from "./sql/prepare-half.sql" with { type: "text" };
import rollbackStatement from "./sql/rollback-half.sql" with { type: "text" };

/** A half message to be kept. */
export interface HalfToPrepare {
  readonly topic: number;
  readonly partition: number;
  readonly key: string | null;
  /** As JSON. */
  readonly value: string;
  readonly attributes: string | null;
  readonly checkBack: string;
  readonly timeoutMs: number;
  readonly maxChecks: number;
  readonly onUndecided: "keep" | "rollback";
}

/** A half message that was handed out to be asked about. */
export interface ClaimedHalf {
  readonly half: string;
  readonly topic: string;
  readonly partition: number;
  readonly key: string | null;
  /** As JSON. */
  readonly value: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly checkBack: string;
  readonly checks: number;
  readonly preparedAtMs: number;
}

/** Messages that wait for their producer's decision. */
export class HalfMessages {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Keeps one and gives its number. */
  async prepare(half: HalfToPrepare): Promise<string> {
    const rows = await this.#pool.query<{ half: string }>("preparing a message", prepareStatement, [
      half.topic,
      half.partition,
      half.key,
      half.value,
      half.attributes,
      half.checkBack,
      half.timeoutMs,
      half.maxChecks,
      half.onUndecided,
    ]);
    const number = rows[0]?.half;
    if (number === undefined) throw new SluiceError("INTERNAL", "preparing a message: the database gave no number");
    return number;
  }

  /** Commits one, unless it was decided before. */
  commit(half: string, by: "caller" | "check-back"): Promise<HalfOutcome> {
    return this.#decide(`committing half message ${half}`, commitStatement, half, by);
  }

  /** Discards one, unless it was decided before. */
  rollback(half: string, by: "caller" | "check-back"): Promise<HalfOutcome> {
    return this.#decide(`rolling back half message ${half}`, rollbackStatement, half, by);
  }

  /** Those that are due to one who knows these check-backs; they are nobody else's for `leaseMs`. */
  async claim(options: {
    readonly names: readonly string[];
    readonly origins: readonly string[];
    readonly most: number;
    readonly leaseMs: number;
  }): Promise<readonly ClaimedHalf[]> {
    const rows = await this.#pool.query<{
      half: string;
      topic: string;
      partition: number;
      key: string | null;
      value: string;
      headers: string | null;
      check_back: string;
      checks: number;
      prepared_at_ms: string;
    }>("looking for half messages to ask about", claimStatement, [
      textArrayLiteral(options.names),
      textArrayLiteral(options.origins),
      options.most,
      options.leaseMs,
    ]);
    return rows.map(({ check_back, prepared_at_ms, headers, ...row }) => ({
      ...row,
      headers: headers === null ? {} : (JSON.parse(headers) as Readonly<Record<string, string>>),
      checkBack: check_back,
      preparedAtMs: Number(prepared_at_ms),
    }));
  }

  /** Its check-back could not tell; after the last check it is settled as it was prepared. */
  async note(half: string, answer: string): Promise<void> {
    await this.#pool.query(`noting an answer about half message ${half}`, noteStatement, [half, answer]);
  }

  async #decide(what: string, statement: string, half: string, by: string): Promise<HalfOutcome> {
    const rows = await this.#pool.query<{ outcome: HalfOutcome["outcome"]; decided: boolean; message: string | null }>(
      what,
      statement,
      [half, by],
    );
    const row = rows[0];
    if (row === undefined) throw new SluiceError("INTERNAL", `${what}: the database did not tell what it is`);
    return { outcome: row.outcome, decided: row.decided, messageId: row.message };
  }
}
