import type { BegunRetry, OwnedPosition, PutOff, PutOffOutcome, Retries, WaitingRetry } from "@sluice/broker";
import type { Clock, Logger } from "@sluice/kernel";
import { GatheredCalls } from "./gathered-calls.ts";
import { insist } from "./insist.ts";

/** What a keeper works with. */
export interface RetryKeeperContext {
  readonly retries: Retries;
  readonly owner: OwnedPosition;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Aborted when the partition is no longer this process's: then everything answers "stopped". */
  readonly signal: AbortSignal;
}

/** Messages of one statement: their values go along. */
const gatheredMessages = 200;

/**
 * The failed messages of one partition, as its owner keeps them in the database: many in one statement, and again until the
 * database has them. Nothing here rejects.
 */
export class RetryKeeper {
  readonly #context: RetryKeeperContext;
  readonly #puttingOff: GatheredCalls<PutOff, PutOffOutcome>;
  readonly #beginning: GatheredCalls<number, BegunRetry | undefined | "fenced">;
  readonly #ending: GatheredCalls<number, "over" | "fenced">;

  constructor(context: RetryKeeperContext) {
    this.#context = context;
    const { retries, owner } = context;
    this.#puttingOff = new GatheredCalls(gatheredMessages, (messages) => retries.putOff(owner, messages));
    this.#beginning = new GatheredCalls<number, BegunRetry | undefined | "fenced">(
      gatheredMessages,
      async (offsets) => {
        const begun = await retries.begin(owner, offsets);
        return begun === "fenced" ? offsets.map(() => begun) : begun;
      },
    );
    this.#ending = new GatheredCalls<number, "over" | "fenced">(gatheredMessages, async (offsets) => {
      const outcome = (await retries.end(owner, offsets)) ? "over" : "fenced";
      return offsets.map(() => outcome);
    });
  }

  /** Keeps a message that failed. */
  putOff(message: PutOff): Promise<PutOffOutcome | "stopped"> {
    return insist("putting a failed message off", this.#context, () => this.#puttingOff.add(message));
  }

  /** Counts an attempt before it is made; `undefined` when the message is done already. */
  begin(offset: number): Promise<BegunRetry | undefined | "fenced" | "stopped"> {
    return insist("beginning a retry", this.#context, () => this.#beginning.add(offset));
  }

  /** Forgets a message that is over. */
  end(offset: number): Promise<"over" | "fenced" | "stopped"> {
    return insist("forgetting a message that is over", this.#context, () => this.#ending.add(offset));
  }

  /** Notes that a suspicious message is handed over. */
  handOut(offset: number, first: number): Promise<number | "fenced" | "stopped"> {
    const { retries, owner } = this.#context;
    return insist("noting a suspicious message", this.#context, () => retries.handOut(owner, offset, first));
  }

  /** What waits, `limit` at most; nothing when stopped. */
  async waiting(limit: number): Promise<readonly WaitingRetry[]> {
    const { retries, owner } = this.#context;
    const rows = await insist("looking for retries", this.#context, () => retries.waiting(owner.position, limit));
    return rows === "stopped" ? [] : rows;
  }
}
