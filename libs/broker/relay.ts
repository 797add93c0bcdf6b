import type { Pool } from "@sluice/store";
import type { Doorbell } from "./doorbell.ts";
import relayStatement from "./sql/relay.sql" with { type: "text" };

/** Messages moved in one transaction at most. (Of bytes sluice.relay knows the bound.) */
const roundMessages = 2_000;
/** After something was moved, for how long to look again at once, and how often. Transactions that did not ring are found here. */
const hotMs = 100;
const hotPollMs = 3;
/** How often to look when nothing rings: the longest a message waits whose transaction rang nobody. */
const idlePollMs = 250;

/**
 * Moves messages of committed transactions from the outbox into the log. Where it stands is a snapshot in memory: a new
 * term begins with a look at everything, and rows are the only truth.
 */
export class Relay {
  readonly #pool: Pool;
  readonly #doorbell: Doorbell;
  #snapshot: string | null = null;
  #hotUntil = 0;
  /** Whether the last look told of something new in the log, be it from the outbox or held back until now. */
  #letIn = false;

  constructor(pool: Pool, doorbell: Doorbell) {
    this.#pool = pool;
    this.#doorbell = doorbell;
  }

  /** Forgets where it stood: the next round looks at everything. */
  reset(): void {
    this.#snapshot = null;
  }

  /** One look; see DutyRound. */
  async round(epoch: number): Promise<number> {
    const { moved, isCutShort } = await this.#move(epoch);
    // There may be more; a duty that is to be let go is let go between two looks, however much waits.
    if (isCutShort) return 0;
    const now = performance.now();
    if (moved > 0 || this.#letIn) this.#hotUntil = now + hotMs;
    return now < this.#hotUntil ? hotPollMs : idlePollMs;
  }

  async #move(epoch: number): Promise<{ readonly moved: number; readonly isCutShort: boolean }> {
    const rows = await this.#pool.query<{ moved: number; rings: string; snapshot: string | null }>(
      "relaying the outbox",
      relayStatement,
      [epoch, this.#snapshot, roundMessages],
    );
    const row = rows[0];
    if (row === undefined) return { moved: 0, isCutShort: false };
    // What is moved was not visible in the last look's snapshot: where that stays all the same, a bound of messages or bytes was reached.
    const isCutShort = row.moved > 0 && row.snapshot === this.#snapshot;
    this.#snapshot = row.snapshot;
    this.#letIn = row.rings !== "";
    this.#doorbell.ringMoved(row.rings);
    return { moved: row.moved, isCutShort };
  }
}
