import type {
  BegunRetry,
  BuryOutcome,
  CountOutcome,
  DeadLetter,
  OwnedPosition,
  PutOff,
  PutOffOutcome,
  WaitingRetry,
} from "@sluice/broker";
import type { Clock, Logger } from "@sluice/kernel";
import { GatheredRetries } from "./gathered-retries.ts";
import { insist } from "./insist.ts";

/** What a keeper works with. */
export interface RetryKeeperContext {
  /** All partitions of the process share it. */
  readonly gathered: GatheredRetries;
  readonly owner: OwnedPosition;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Aborted when the partition is no longer this process's: then everything answers "stopped". */
  readonly signal: AbortSignal;
}

/**
 * The failed messages of one partition, as its owner keeps them in the database: in one statement with those of the process's other
 * partitions, and again until the database has them. Nothing here rejects.
 *
 * Only the first try goes along with the others: a statement may wait for a transaction that is being committed, or fail for one
 * message's sake, and who was in it then goes on with its own.
 */
export class RetryKeeper {
  readonly #context: RetryKeeperContext;
  readonly #own: GatheredRetries;

  constructor(context: RetryKeeperContext) {
    this.#context = context;
    this.#own = new GatheredRetries(context.gathered.retries);
  }

  /** Keeps a message that failed. */
  putOff(message: PutOff): Promise<PutOffOutcome | "stopped"> {
    const { owner } = this.#context;
    return this.#insist("putting a failed message off", ({ puttingOff }) => puttingOff.add({ owner, message }));
  }

  /** Counts an attempt of a message in memory before it is made. */
  count(offset: number, attempt: number): Promise<CountOutcome | "stopped"> {
    const { owner } = this.#context;
    return this.#insist("counting an attempt", ({ counting }) => counting.add({ owner, offset, attempt }));
  }

  /** Counts an attempt of any other before it is made, and gives it; `undefined` when the message is done already. */
  begin(offset: number, attempt: number): Promise<BegunRetry | undefined | "fenced" | "stopped"> {
    const { owner } = this.#context;
    return this.#insist("beginning a retry", ({ beginning }) => beginning.add({ owner, offset, attempt }));
  }

  /** Forgets a message that is over. */
  end(offset: number): Promise<"over" | "fenced" | "stopped"> {
    const { owner } = this.#context;
    return this.#insist("forgetting a message that is over", ({ ending }) => ending.add({ owner, offset }));
  }

  /** Drops a message that is given up, put off before or not. */
  drop(offset: number): Promise<"over" | "fenced" | "stopped"> {
    const { owner } = this.#context;
    return this.#insist("dropping a message", ({ dropping }) => dropping.add({ owner, offset }));
  }

  /** Keeps a message that is given up as a dead letter, put off before or not. */
  bury(letter: DeadLetter): Promise<BuryOutcome | "stopped"> {
    const { gathered, owner } = this.#context;
    return insist("keeping a dead letter", this.#context, () => gathered.retries.bury(owner, letter));
  }

  /** Notes that a suspicious message is handed over. */
  handOut(offset: number, first: number): Promise<number | "fenced" | "stopped"> {
    const { gathered, owner } = this.#context;
    return insist("noting a suspicious message", this.#context, () => gathered.retries.handOut(owner, offset, first));
  }

  /** What waits; nothing when stopped. */
  async waiting(): Promise<readonly WaitingRetry[]> {
    const { gathered, owner } = this.#context;
    const rows = await insist("looking for retries", this.#context, () => gathered.retries.waiting(owner.position));
    return rows === "stopped" ? [] : rows;
  }

  #insist<Result>(what: string, call: (gathered: GatheredRetries) => Promise<Result>): Promise<Result | "stopped"> {
    let tries = 0;
    return insist(what, this.#context, () => {
      tries += 1;
      return call(tries === 1 ? this.#context.gathered : this.#own);
    });
  }
}
