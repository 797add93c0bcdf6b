import type { BuryOutcome } from "@sluice/broker";
import type { AnyConsumer } from "@sluice/contract";
import type { Clock, Logger } from "@sluice/kernel";
import type { ReadBatch, TopicEntry } from "@sluice/log";
import type { Answers } from "./answers.ts";
import { deadLetterOf } from "./dead-letter.ts";
import { type Failure, failureText, measureOf } from "./failure.ts";
import { blocksOf, keptMessageAt, lifetimeAt } from "./kept-batch.ts";
import type { PutOffMessage } from "./put-off-message.ts";
import type { RetryKeeper } from "./retry-keeper.ts";

/**
 * What to do about a failed attempt: try again after the delay (the message is put off, and its row says so), go on without
 * the message, stop the partition, or nothing: it is stopped, or another's.
 */
export type Verdict = (PutOffMessage & { readonly delayMs: number }) | "over" | "pause" | "stopped" | "fenced";

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
  readonly keeper: RetryKeeper;
  readonly answers: Answers;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Whether what failed may be done after all, by a commit whose answer was lost. */
  readonly mayBeDone: () => boolean;
  /** Aborted when the partition is no longer this process's. */
  readonly signal: AbortSignal;
}

/** Decides what comes after a failed attempt, as the consumer declared it, and sees to it that the database knows. */
export class FailurePolicy {
  readonly #context: FailureContext;

  constructor(context: FailureContext) {
    this.#context = context;
  }

  /** Never rejects: a dead letter that cannot be kept is tried again until it is, or the partition is stopped. */
  async judge(failed: Attempt, failure: Failure): Promise<Verdict> {
    const { batch, index, attempt } = failed;
    const { consumer, partition, answers, signal, logger } = this.#context;
    const offset = batch.baseOffset + index;
    const measure = measureOf(failure, { consumer, partition, offset, attempt, logger });
    if (measure.kind === "drop" || measure.kind === "bury") {
      const { reason } = measure;
      const verdict =
        measure.kind === "drop" ? await this.#drop(failed) : await this.#bury(failed, reason, failureText(failure));
      // Its transaction was committed after all, and only the answer was lost.
      if (verdict === "already") return "over";
      if (verdict === "fenced" || verdict === "stopped") return verdict;
      await answers.refuse(consumer, batch, index, reason, signal);
      return "over";
    }
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
    const { consumer, keeper, mayBeDone } = this.#context;
    const message = { ...keptMessageAt(batch, index), ...lifetimeAt(batch, index) };
    const blocks = blocksOf(consumer, message.key);
    const outcome = await keeper.putOff({
      ...message,
      isFirst: !isPutOff,
      attempt,
      delayMs,
      blocks,
      error,
      mayBeDone: mayBeDone(),
    });
    if (outcome === "put off") return { delayMs, message, attempt, error };
    // Its transaction was committed after all, and only the answer was lost.
    return outcome === "already" ? "over" : outcome;
  }

  /**
   * The position passes what was never put off, and is written soon. Anything else is written down as dropped: what has a row was seen to fail
   * before, and an explicit commit may never come, so that each restart would hand over once more what was given up.
   */
  async #drop({ batch, index, isPutOff }: Attempt): Promise<"dropped" | "fenced" | "stopped"> {
    const { consumer, keeper } = this.#context;
    if (!isPutOff && consumer.commit !== "explicit") return "dropped";
    const outcome = await keeper.drop(batch.baseOffset + index);
    return outcome === "over" ? "dropped" : outcome;
  }

  #bury(
    { batch, index, attempt }: Attempt,
    reason: "exhausted" | "rejected" | "schema",
    error: string,
  ): Promise<BuryOutcome | "stopped"> {
    const { keeper, group, entry, partition } = this.#context;
    const home = { group, topic: entry.number, partition };
    return keeper.bury(deadLetterOf(batch, index, { ...home, reason, error, attempts: attempt }));
  }
}
