import type { Groups } from "@sluice/broker";
import type { AnyConsumer } from "@sluice/contract";
import { type Clock, type Logger, toError } from "@sluice/kernel";
import type { ReadBatch, TopicEntry } from "@sluice/log";
import { headersAt, idAt, keyAt, timestampAt } from "../batch-record.ts";
import { deadLetterOf } from "./dead-letter.ts";
import { type Failure, failureText, measureOf } from "./failure.ts";
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

/** Decides what comes after a failed attempt, as the consumer declared it, and sees to it that the database knows. */
export class FailurePolicy {
  readonly #context: FailureContext;

  constructor(context: FailureContext) {
    this.#context = context;
  }

  /** Never rejects: a dead letter that cannot be kept is tried again until it is, or the partition is stopped. */
  async judge(failed: Attempt, failure: Failure): Promise<Verdict> {
    const { batch, index, attempt } = failed;
    const { consumer, partition, logger } = this.#context;
    const offset = batch.baseOffset + index;
    const measure = measureOf(failure, { consumer, partition, offset, attempt, logger });
    if (measure.kind === "drop") return "over";
    if (measure.kind === "bury") return await this.#bury(failed, measure.reason, failureText(failure));
    if (measure.kind === "again") {
      // An attempt is counted when it begins: one that is not to count is taken off before.
      const counted = measure.counts ? attempt : attempt - 1;
      return await this.#putOff({ ...failed, attempt: counted }, measure.delayMs, failureText(failure));
    }
    // Its row waits for the partition to be resumed, and then it begins anew.
    const kept = await this.#putOff({ ...failed, attempt: 0 }, 0, failureText(failure));
    return typeof kept === "object" ? "pause" : kept;
  }

  async #putOff({ batch, index, attempt, isPutOff }: Attempt, delayMs: number, error: string): Promise<Verdict> {
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
      error,
    });
    if (outcome === "put off") return { delayMs };
    // Its transaction was committed after all, and only the answer was lost.
    return outcome === "already" ? "over" : outcome;
  }

  async #bury(
    { batch, index, attempt }: Attempt,
    reason: "exhausted" | "rejected" | "schema",
    error: string,
  ): Promise<"over" | "stopped"> {
    const { groups, group, entry, partition, logger, clock, signal } = this.#context;
    const letter = deadLetterOf(batch, index, {
      group,
      topic: entry.number,
      partition,
      reason,
      error,
      attempts: attempt,
    });
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
