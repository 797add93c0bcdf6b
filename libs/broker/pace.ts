import type { Pool } from "@sluice/store";
import forgetStatement from "./sql/forget-pace.sql" with { type: "text" };
import forgetReleasesStatement from "./sql/forget-releases.sql" with { type: "text" };
import reserveStatement from "./sql/reserve-pace.sql" with { type: "text" };

/** A group's rate limit in the database, shared by all its processes. */
export class Pace {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /**
   * Reserves `count` messages, one every `intervalMs`, after what others have reserved; gives in how many milliseconds the
   * first may go, zero or less for now.
   *
   * @param key whose limit it is; `""` for the whole group's
   * @param sinceMs since when this rate is in force, in milliseconds since 1970, the same in every process. The first that reserves
   *   under a newer rate takes back what was reserved under an older one. Default 0: it has always been
   */
  async reserve(
    group: number,
    topic: number,
    key: string,
    count: number,
    intervalMs: number,
    sinceMs = 0,
  ): Promise<number> {
    const rows = await this.#pool.query<{ wait_ms: number }>("reserving a pace", reserveStatement, [
      group,
      topic,
      key,
      count,
      intervalMs,
      sinceMs,
    ]);
    return rows[0]?.wait_ms ?? 0;
  }

  /** Forgets limits of keys that were not reached for a minute, `limit` of them, and rates of what is worked off. */
  async forget(limit: number): Promise<void> {
    await this.#pool.query("forgetting idle paces", forgetStatement, [limit]);
    await this.#pool.query("forgetting rates of what is worked off", forgetReleasesStatement);
  }
}
