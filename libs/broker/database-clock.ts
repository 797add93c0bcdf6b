import { SluiceError } from "@sluice/kernel";
import type { Pool } from "@sluice/store";
import statement from "./sql/database-time-ms.sql" with { type: "text" };

/** For how long what was learned is gone on: both machines count seconds alike, but the database's clock may be set. */
const freshMs = 10_000;

/**
 * The database's clock, as far as it is known here: a time that it has reached for certain. What it said when it was asked,
 * and what has passed since the answer was here, by the timer that no one sets. The local time of day has no part in it.
 */
export class DatabaseClock {
  readonly #pool: Pool;
  #learned: { readonly nowMs: number; readonly at: number } | undefined;
  #learning: Promise<void> | undefined;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Milliseconds since 1970 that the database's clock has reached; `undefined` when it must be asked first: see {@link learn}. */
  reached(): number | undefined {
    if (this.#learned === undefined) return undefined;
    const passed = performance.now() - this.#learned.at;
    return passed > freshMs ? undefined : this.#learned.nowMs + passed;
  }

  /** The same however long ago it was asked: for what must go on while nobody can be asked. */
  estimate(): number | undefined {
    return this.#learned === undefined ? undefined : this.#learned.nowMs + performance.now() - this.#learned.at;
  }

  /** Asks the database; those who ask at once share one question. Fails as any call to the database does. */
  async learn(): Promise<void> {
    this.#learning ??= this.#ask().finally(() => {
      this.#learning = undefined;
    });
    await this.#learning;
  }

  async #ask(): Promise<void> {
    const rows = await this.#pool.query<{ now_ms: string }>("asking the database for its time", statement);
    const nowMs = Number(rows[0]?.now_ms);
    if (!Number.isFinite(nowMs)) throw new SluiceError("INTERNAL", "the database did not say what time it is");
    this.#learned = { nowMs, at: performance.now() };
  }
}
