import type { Pool } from "@sluice/store";
import type { Doorbell } from "./doorbell.ts";
import insertStatement from "./sql/insert-delayed.sql" with { type: "text" };
import moveStatement from "./sql/move-delayed.sql" with { type: "text" };
import recallStatement from "./sql/recall-delayed.sql" with { type: "text" };

/** Messages moved in one transaction at most, and bytes of their values. */
const roundMessages = 2_000;
const roundBytes = 8 * 1_048_576;
/** How often to look although nothing that is known of is due: the longest that a message waits that rang nobody. */
const idlePollMs = 250;
/** How soon to look again when something is due that cannot be had: somebody is recalling it. */
const passedOverMs = 25;
/** How often to look at everything, and not only from where the last look ended. */
const wholeEveryMs = 500;
/** A look at everything may take this part of the time: behind a transaction held open it walks over what was deleted. */
const wholeShare = 20;

/**
 * Moves messages that are due into the log. What it keeps in memory is only where to look from: a new term begins with a
 * look at everything, and rows are the only truth.
 */
export class Delays {
  readonly #pool: Pool;
  readonly #doorbell: Doorbell;
  #floor: string | null = null;
  #wholeAt = 0;

  constructor(pool: Pool, doorbell: Doorbell) {
    this.#pool = pool;
    this.#doorbell = doorbell;
  }

  /** Forgets where it stood: the next round looks at everything. */
  reset(): void {
    this.#floor = null;
    this.#wholeAt = 0;
  }

  /** One move; see DutyRound. */
  async round(epoch: number): Promise<number> {
    const begunAt = performance.now();
    const whole = begunAt >= this.#wholeAt;
    const rows = await this.#pool.query<{
      moved: number;
      rings: string;
      floor: string;
      wait_ms: number | null;
    }>("moving delayed messages", moveStatement, [epoch, whole ? null : this.#floor, roundMessages, roundBytes]);
    const row = rows[0];
    if (row === undefined) return idlePollMs;
    const endedAt = performance.now();
    if (whole) this.#wholeAt = endedAt + Math.max(wholeEveryMs, (endedAt - begunAt) * wholeShare);
    this.#floor = row.floor;
    this.#doorbell.ringMoved(row.rings);
    if (row.wait_ms === null) return idlePollMs;
    if (row.wait_ms <= 0) return row.moved > 0 ? 0 : passedOverMs;
    return Math.min(Math.ceil(row.wait_ms), idlePollMs);
  }
}

/** Messages that come later, as sluice.delayed_insert takes them. */
export interface DelayedMessages {
  /** The topic's number. */
  readonly topic: number;
  /** JSON: `[{"partition", "key", "value", "attributes"}, …]`. */
  readonly messages: string;
  /** Milliseconds since 1970; null when there is a delay. */
  readonly dueMs: number | null;
  /** From now, by the database's clock; null when there is a due time. */
  readonly delayMs: number | null;
  /** Wake the mover if they are due soon. */
  readonly ring: boolean;
}

/** Keeps messages until they are due. Resolves with their numbers, in order, separated by commas. */
export async function insertDelayed(pool: Pool, what: string, delayed: DelayedMessages): Promise<string> {
  const rows = await pool.query<{ numbers: string }>(what, insertStatement, [
    delayed.topic,
    delayed.messages,
    delayed.dueMs === null ? null : String(delayed.dueMs),
    delayed.delayMs === null ? null : String(delayed.delayMs),
    delayed.ring,
  ]);
  return rows[0]?.numbers ?? "";
}

/** Takes a delayed message back; resolves with whether it will never be delivered. */
export async function recallDelayed(pool: Pool, id: string): Promise<boolean> {
  const rows = await pool.query<{ recalled: boolean }>("recalling a message", recallStatement, [id]);
  return rows[0]?.recalled === true;
}
