import type { DeadLetter, RetryClaim, SharedLeases, SharedRetries } from "@sluice/broker";
import type { AnyConsumer } from "@sluice/contract";
import { type Clock, type Logger, toError } from "@sluice/kernel";
import type { ReadBatch, TopicEntry } from "@sluice/log";
import { keyAt } from "../batch-record.ts";
import type { ClaimedRetry } from "./claimed-retry.ts";
import { deadLetterOf, errorText } from "./dead-letter.ts";
import type { Outcome } from "./delivery.ts";
import type { LeasedRange } from "./leased-range.ts";
import { pause } from "./pause.ts";

/** What failures are judged with. */
export interface SharedFailuresContext {
  readonly consumer: AnyConsumer;
  readonly entry: TopicEntry;
  readonly group: number;
  readonly member: number;
  readonly leases: SharedLeases;
  readonly retries: SharedRetries;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Aborted when the process stops. */
  readonly signal: AbortSignal;
}

/**
 * What became of a message that failed: its part in the range is over (`retryInMs`: it is to be tried again then); `"pause"`: so
 * it is, and the consumer is to stop; `"stopped"`: nothing is known to be written, because the process stops or the range is lost.
 */
export type SharedVerdict = { readonly retryInMs?: number } | "pause" | "stopped";

type Failure = Extract<Outcome, { kind: "failed" | "misfit" }>;

const writeRetryMs = 500;

/**
 * Decides what comes after a failed attempt of a shared group, as the consumer declared it, and writes it down: a message that failed
 * leaves its range and becomes a row of its own, so that it holds nobody up and its attempts outlive this process.
 */
export class SharedFailures {
  readonly #context: SharedFailuresContext;

  constructor(context: SharedFailuresContext) {
    this.#context = context;
  }

  /** A first attempt, from a leased range. Never rejects. */
  async ofRange(range: LeasedRange, batch: ReadBatch, index: number, failure: Failure): Promise<SharedVerdict> {
    const { leases, retries, member } = this.#context;
    const decision = this.#decide(batch, index, range.partition, 1, failure);
    if (decision === "drop") return {};
    const message = {
      position: range.position,
      lease: range.lease,
      offset: batch.baseOffset + index,
      attempt: decision === "pause" ? 0 : 1,
      delayMs: typeof decision === "object" ? decision.delayMs : decision === "pause" ? null : 0,
      error: errorText(failure.error),
      key: keyAt(batch, index),
    };
    return await this.#untilWritten(async () => {
      // Asks the database first whether the handler's transaction has committed after all.
      const moved = await leases.move(message, decision === "dead-letter" ? member : null);
      if (moved.outcome === "fenced") {
        range.lose();
        return "stopped";
      }
      if (moved.outcome === "done") return {};
      if (typeof decision === "object") return { retryInMs: decision.delayMs };
      if (decision === "pause") return "pause";
      await retries.bury({ ...message, claim: moved.claim }, this.#letter(batch, index, range.partition, 1, failure));
      return {};
    });
  }

  /** A later attempt. Never rejects. */
  async ofRetry(retry: ClaimedRetry, batch: ReadBatch, index: number, failure: Failure): Promise<SharedVerdict> {
    return await this.#settleRetry(
      retry,
      batch,
      index,
      Math.min(retry.attempt, this.#context.consumer.attempts),
      failure,
    );
  }

  async #settleRetry(
    retry: ClaimedRetry,
    batch: ReadBatch,
    index: number,
    attempt: number,
    failure: Failure,
  ): Promise<SharedVerdict> {
    const { retries } = this.#context;
    const decision = this.#decide(batch, index, retry.partition, attempt, failure);
    const error = errorText(failure.error);
    return await this.#untilWritten(async () => {
      if (decision === "drop") await retries.finish(retry.claim);
      else if (decision === "pause") {
        if (await retries.putOff(retry.claim, { delayMs: null, error, attempt: 0 })) return "pause";
      } else if (decision === "dead-letter") {
        await retries.bury(retry.claim, this.#letter(batch, index, retry.partition, attempt, failure));
      } else if (await retries.putOff(retry.claim, { delayMs: decision.delayMs, error })) {
        return { retryInMs: decision.delayMs };
      }
      return {};
    });
  }

  /** A later attempt succeeded. Never rejects. */
  async done(retry: ClaimedRetry): Promise<SharedVerdict> {
    return await this.#untilWritten(async () => {
      await this.#context.retries.finish(retry.claim);
      return {};
    });
  }

  /**
   * Notes that a message is about to be handed over by itself, which counts as an attempt. Never rejects.
   *
   * @returns the right to it; `"done"` when there is nothing to hand over any more
   */
  async accuse(range: LeasedRange, batch: ReadBatch, index: number): Promise<RetryClaim | "done" | "stopped"> {
    const { leases, member } = this.#context;
    const offset = batch.baseOffset + index;
    const { position, lease } = range;
    const error = "the process that had it in hand, perhaps among others, ended or froze";
    const message = { position, lease, offset, attempt: 1, delayMs: 0, error, key: keyAt(batch, index) };
    let claim = 0;
    const verdict = await this.#untilWritten(async () => {
      const moved = await leases.move(message, member);
      if (moved.outcome === "fenced") range.lose();
      if (moved.outcome === "moved") claim = moved.claim;
      return moved.outcome === "fenced" ? "stopped" : {};
    });
    if (verdict === "stopped") return "stopped";
    return claim === 0 ? "done" : { position, offset, claim };
  }

  #decide(
    batch: ReadBatch,
    index: number,
    partition: number,
    attempt: number,
    failure: Failure,
  ): "dead-letter" | "drop" | "pause" | { readonly delayMs: number } {
    const { consumer, entry, logger } = this.#context;
    const fields = {
      topic: entry.name,
      group: consumer.group,
      partition,
      offset: batch.baseOffset + index,
      attempt,
      error: toError(failure.error),
    };
    if (failure.kind === "failed" && attempt < consumer.attempts) {
      const delayMs = Math.ceil(consumer.backoff.delayMs(attempt, Math.random()));
      logger.log("info", "a handler failed; its message is tried again", { ...fields, delayMs });
      return { delayMs };
    }
    const reason = failure.kind === "misfit" ? "schema" : "exhausted";
    logger.log("warn", `a message was given up: ${consumer.onExhausted}`, { ...fields, reason });
    return consumer.onExhausted;
  }

  #letter(batch: ReadBatch, index: number, partition: number, attempts: number, failure: Failure): DeadLetter {
    const { group, entry } = this.#context;
    const reason = failure.kind === "misfit" ? "schema" : "exhausted";
    const error = errorText(failure.error);
    return deadLetterOf(batch, index, { group, topic: entry.number, partition, reason, error, attempts });
  }

  async #untilWritten(write: () => Promise<SharedVerdict>): Promise<SharedVerdict> {
    const { signal, logger, clock, entry, consumer } = this.#context;
    while (!signal.aborted) {
      try {
        return await write();
      } catch (error) {
        logger.log("warn", "what became of a message could not be written and is tried again", {
          topic: entry.name,
          group: consumer.group,
          error: toError(error),
        });
        await pause(clock, writeRetryMs, signal);
      }
    }
    return "stopped";
  }
}
