import { isSluiceError, type Logger, Signal, SluiceError, toError } from "@sluice/kernel";
import type { Pool, Presence } from "@sluice/store";
import assertStatement from "./sql/assert-duty.sql" with { type: "text" };
import leaveStatement from "./sql/leave-duty.sql" with { type: "text" };
import takeStatement from "./sql/take-duty.sql" with { type: "text" };

/** What one process at a time does for all. The numbers are those of the table sluice.duty. */
export const duties = { relay: 1, retention: 2, delays: 3, schedules: 4 } as const;

/** One round of a duty. Resolves with how long to wait for the next unless woken, in milliseconds. */
export type DutyRound = (epoch: number) => Promise<number>;

/** What a duty is and who stands for it. */
export interface DutyOptions {
  readonly pool: Pool;
  readonly session: Presence;
  /** Who stands for it. */
  readonly member: number;
  readonly duty: keyof typeof duties;
  readonly owner: string;
  readonly logger: Logger;
  /** Called when the duty is taken, before its first round: what the last owner knew is void. */
  readonly onTaken: () => void;
  readonly round: DutyRound;
}

/** Fails, as a round that another owner has replaced, when the epoch of a duty is over. For rounds that write nothing under it. */
export async function assertDuty(pool: Pool, duty: keyof typeof duties, epoch: number): Promise<void> {
  await pool.query(`the duty ${duty}`, assertStatement, [duties[duty], epoch]);
}

/** How often to look whether a duty is free, in milliseconds: a dead owner is replaced within this. */
const candidateMs = 500;

/**
 * Stands for a duty: takes it whenever its session lock is free, and no member has it by its lease, does its rounds under an epoch, and lets it go at the end.
 * A round that fails is logged and tried again; one that is told of another owner ends this term.
 */
export class Duty {
  readonly #options: DutyOptions;
  readonly #wake = new Signal();
  #stopped = false;
  readonly #done: Promise<void>;

  constructor(options: DutyOptions) {
    this.#options = options;
    this.#done = this.#run();
  }

  /** Which one it is. */
  get name(): keyof typeof duties {
    return this.#options.duty;
  }

  /** There may be something to do. */
  wake(): void {
    this.#wake.raise();
  }

  /** Ends after the round under way and lets the duty go. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake.raise();
    await this.#done;
  }

  async #run(): Promise<void> {
    const { session, duty, logger } = this.#options;
    while (!this.#stopped && session.isOpen) {
      try {
        if (await session.tryLock("duty", duties[duty])) await this.#term();
      } catch (error) {
        if (!this.#stopped && session.isOpen)
          logger.log("warn", `the duty ${duty} was interrupted`, { error: toError(error) });
      }
      if (!this.#stopped) await this.#wait(candidateMs);
    }
  }

  async #term(): Promise<void> {
    const { pool, session, member, duty, owner, logger, onTaken, round } = this.#options;
    try {
      const rows = await pool.query<{ epoch: string | null }>(`taking the duty ${duty}`, takeStatement, [
        duties[duty],
        owner,
        member,
      ]);
      const taken = rows[0]?.epoch ?? null;
      if (taken === null) return;
      const epoch = Number(taken);
      logger.log("debug", "duty taken", { duty, epoch });
      onTaken();
      while (!this.#stopped && session.isOpen) await this.#wake.wait(await this.#tryRound(round, epoch));
      if (session.isOpen) await pool.query(`leaving the duty ${duty}`, leaveStatement, [duties[duty], epoch]);
    } finally {
      if (session.isOpen) await session.unlock("duty", duties[duty]);
    }
  }

  async #tryRound(round: DutyRound, epoch: number): Promise<number> {
    try {
      return await round(epoch);
    } catch (error) {
      const replaced = isSluiceError(error) && error.sqlState === "SL001";
      if (replaced)
        throw new SluiceError("FENCED", `the duty ${this.#options.duty} has another owner`, { cause: error });
      this.#options.logger.log("warn", `a round of the duty ${this.#options.duty} failed; it is tried again`, {
        error: toError(error),
      });
      return candidateMs;
    }
  }

  /** A candidate is not woken by what only the owner acts on. */
  async #wait(waitMs: number): Promise<void> {
    const until = performance.now() + waitMs;
    while (!this.#stopped && performance.now() < until) await this.#wake.wait(until - performance.now());
  }
}
