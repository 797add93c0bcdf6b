import type { Groups } from "@sluice/broker";
import type { AnyConsumer } from "@sluice/contract";
import { type Clock, type Logger, toError } from "@sluice/kernel";
import type { ReadBatch, TopicEntry } from "@sluice/log";
import { headersAt, idAt, keyAt, timestampAt } from "../batch-record.ts";
import type { Outcome } from "./delivery.ts";
import { pause } from "./pause.ts";
import type { RetryKeeper } from "./retry-keeper.ts";

/**
 * What to do about a failed attempt: try again after the delay (the message is put off, and its row says so), go on without
 * the message, stop the partition, or nothing: it is stopped, or another's.
 */
export type Verdict = { readonly delayMs: number } | "over" | "pause" | "stopped" | "fenced";

/** One handing-over that did not succeed. */
export interface Attempt {
  readonly batch: ReadBatch;
  readonly index: number;
  /** How often the message was handed over, this time included. */
  readonly attempt: number;
  /** Whether it was put off before. */
  readonly isPutOff: boolean;
}

/** What a policy works with. */
export interface FailureContext {
  readonly consumer: AnyConsumer;
  readonly entry: TopicEntry;
  readonly group: number;
  readonly partition: number;
  readonly groups: Groups;
  readonly keeper: RetryKeeper;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Aborted when the partition is no longer this process's. */
  readonly signal: AbortSignal;
}

const buryRetryMs = 500;
/** Characters of an error's text that a dead letter keeps. */
const errorCharacters = 8_192;

/** Decides what comes after a failed attempt, as the consumer declared it, and sees to it that the database knows. */
export class FailurePolicy {
  readonly #context: FailureContext;

  constructor(context: FailureContext) {
    this.#context = context;
  }

  /** Never rejects: a dead letter that cannot be kept is tried again until it is, or the partition is stopped. */
  async judge(failed: Attempt, outcome: Extract<Outcome, { kind: "failed" | "misfit" }>): Promise<Verdict> {
    const { batch, index, attempt } = failed;
    const { consumer, entry, partition, logger } = this.#context;
    const fields = {
      topic: entry.name,
      group: consumer.group,
      partition,
      offset: batch.baseOffset + index,
      attempt,
      error: toError(outcome.error),
    };
    if (outcome.kind === "failed" && attempt < consumer.attempts) {
      const delayMs = Math.ceil(consumer.backoff.delayMs(attempt, Math.random()));
      logger.log("info", "a handler failed; its message is tried again", { ...fields, delayMs });
      return await this.#putOff(failed, delayMs, outcome.error);
    }
    const reason = outcome.kind === "misfit" ? "schema" : "exhausted";
    logger.log("warn", `a message was given up: ${consumer.onExhausted}`, { ...fields, reason });
    if (consumer.onExhausted === "pause") {
      // Its row waits for the partition to be resumed, and then it begins anew.
      const kept = await this.#putOff({ ...failed, attempt: 0 }, 0, outcome.error);
      return typeof kept === "object" ? "pause" : kept;
    }
    if (consumer.onExhausted === "dead-letter") return await this.#bury(batch, index, attempt, reason, outcome.error);
    return "over";
  }

  async #putOff({ batch, index, attempt, isPutOff }: Attempt, delayMs: number, error: unknown): Promise<Verdict> {
    const { consumer, keeper } = this.#context;
    const key = keyAt(batch, index);
    const outcome = await keeper.putOff({
      offset: batch.baseOffset + index,
      isFirst: !isPutOff,
      attempt,
      delayMs,
      blocks: consumer.mode === "ordered" ? "partition" : key === null ? "nothing" : "key",
      id: idAt(batch, index),
      key,
      value: JSON.stringify(batch.values[index]),
      headers: headersAt(batch, index),
      timestamp: timestampAt(batch, index),
      error: errorText(error),
    });
    if (outcome === "put off") return { delayMs };
    // Its transaction was committed after all, and only the answer was lost.
    return outcome === "already" ? "over" : outcome;
  }

  async #bury(
    batch: ReadBatch,
    index: number,
    attempts: number,
    reason: "exhausted" | "schema",
    error: unknown,
  ): Promise<"over" | "stopped"> {
    const { groups, group, entry, partition, logger, clock, signal } = this.#context;
    const letter = {
      group,
      topic: entry.number,
      partition,
      offset: batch.baseOffset + index,
      id: idAt(batch, index),
      key: keyAt(batch, index),
      value: JSON.stringify(batch.values[index]),
      headers: headersAt(batch, index),
      timestamp: timestampAt(batch, index),
      reason,
      error: errorText(error),
      attempts,
    };
    while (!signal.aborted) {
      try {
        await groups.bury(letter);
        return "over";
      } catch (failure) {
        logger.log("warn", "a dead letter could not be kept and is tried again", {
          topic: entry.name,
          partition,
          error: toError(failure),
        });
        await pause(clock, buryRetryMs, signal);
      }
    }
    return "stopped";
  }
}

/** What Postgres can keep of an error: NUL and lone surrogates would be refused, and the letter is worth more than them. */
export function errorText(thrown: unknown): string {
  const { name, message } = toError(thrown);
  return `${name}: ${message}`.replaceAll("\u0000", "␀").slice(0, errorCharacters).toWellFormed();
}
