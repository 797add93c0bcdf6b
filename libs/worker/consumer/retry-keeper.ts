import type { BegunRetry, OwnedPosition, PutOff, PutOffOutcome, Retries, WaitingRetry } from "@sluice/broker";
import { type Clock, type Logger, toError } from "@sluice/kernel";
import type { ReadBatch } from "@sluice/log";
import { GatheredCalls } from "./gathered-calls.ts";
import { pause } from "./pause.ts";

/** What a keeper works with. */
export interface RetryKeeperContext {
  readonly retries: Retries;
  readonly owner: OwnedPosition;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Aborted when the partition is no longer this process's: then everything answers "stopped". */
  readonly signal: AbortSignal;
}

const tryAgainMs = 500;
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
    return this.#untilKnown("a failed message could not be put off", () => this.#puttingOff.add(message));
  }

  /** Counts an attempt before it is made; `undefined` when the message is done already. */
  begin(offset: number): Promise<BegunRetry | undefined | "fenced" | "stopped"> {
    return this.#untilKnown("a retry could not begin", () => this.#beginning.add(offset));
  }

  /** Forgets a message that is over. */
  end(offset: number): Promise<"over" | "fenced" | "stopped"> {
    return this.#untilKnown("a message that is over could not be forgotten", () => this.#ending.add(offset));
  }

  /** Notes that a suspicious message is handed over. */
  handOut(offset: number, first: number): Promise<number | "fenced" | "stopped"> {
    const { retries, owner } = this.#context;
    return this.#untilKnown("a suspicious message could not be noted", () => retries.handOut(owner, offset, first));
  }

  /** What waits, `limit` at most; nothing when stopped. */
  async waiting(limit: number): Promise<readonly WaitingRetry[]> {
    const { retries, owner } = this.#context;
    const rows = await this.#untilKnown("retries could not be looked for", () =>
      retries.waiting(owner.position, limit),
    );
    return rows === "stopped" ? [] : rows;
  }

  async #untilKnown<Result>(trouble: string, call: () => Promise<Result>): Promise<Result | "stopped"> {
    const { signal, logger, clock } = this.#context;
    while (!signal.aborted) {
      try {
        return await call();
      } catch (error) {
        logger.log("warn", `${trouble}; it is tried again`, { error: toError(error) });
        await pause(clock, tryAgainMs, signal);
      }
    }
    return "stopped";
  }
}

/** A message that was put off, in the form in which the log gives its batches. */
export function retriedBatch({ offset, id, key, value, headers, timestamp }: BegunRetry): ReadBatch {
  return {
    baseOffset: offset,
    count: 1,
    characters: value.length,
    appendedAtMs: timestamp,
    producer: null,
    sequence: 0,
    keys: [key],
    values: [JSON.parse(value) as unknown],
    attributes: [{ id, headers, timestamp }],
  };
}
