import type {
  DeadLetter,
  MovedMessage,
  MoveOutcome,
  RetryClaim,
  SharedLeases,
  SharedRetries,
  TopicPause,
} from "@sluice/broker";
import type { AnyConsumer } from "@sluice/contract";
import type { Clock, Logger } from "@sluice/kernel";
import type { ReadBatch, TopicEntry } from "@sluice/log";
import { keyAt } from "../batch-record.ts";
import type { Answers } from "./answers.ts";
import type { ClaimedRetry } from "./claimed-retry.ts";
import { deadLetterOf } from "./dead-letter.ts";
import { type Failure, failureText, type Measure, measureOf } from "./failure.ts";
import { GatheredCalls } from "./gathered-calls.ts";
import { failureGathering } from "./gathered-retries.ts";
import { insist } from "./insist.ts";
import type { KeptMessages } from "./kept-messages.ts";
import type { LeasedRange } from "./leased-range.ts";

/** What failures are judged with. */
export interface SharedFailuresContext {
  readonly consumer: AnyConsumer;
  readonly entry: TopicEntry;
  readonly group: number;
  readonly member: number;
  readonly leases: SharedLeases;
  readonly retries: SharedRetries;
  /** Where messages are kept that are to be tried again. */
  readonly kept: KeptMessages;
  readonly answers: Answers;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Aborted when the process stops. */
  readonly signal: AbortSignal;
}

/**
 * What became of a message that failed: its part in the range is over (`retryInMs`: it is to be tried again then); `"pause"`: so
 * it is, and the group is paused; `"stopped"`: nothing is known to be written, because the process stops or the range is lost.
 */
export type SharedVerdict = { readonly retryInMs?: number; readonly isRedriven?: boolean } | "pause" | "stopped";

/**
 * Decides what comes after a failed attempt of a shared group, as the consumer declared it, and writes it down: a message that failed
 * leaves its range and becomes a row of its own, so that it holds nobody up and its attempts outlive this process. What fails first and
 * what is over are written for many messages together.
 */
export class SharedFailures {
  readonly #context: SharedFailuresContext;
  readonly #moving: GatheredCalls<MovedMessage, MoveOutcome>;
  readonly #finishing: GatheredCalls<RetryClaim, undefined>;

  constructor(context: SharedFailuresContext) {
    this.#context = context;
    const { leases, retries } = context;
    this.#moving = new GatheredCalls(failureGathering, (messages) => leases.moveAll(messages));
    this.#finishing = new GatheredCalls(failureGathering, async (claims) => {
      await retries.finishAll(claims);
      return claims.map(() => undefined);
    });
  }

  /** A first attempt, from a leased range. Never rejects. */
  async ofRange(range: LeasedRange, batch: ReadBatch, index: number, failure: Failure): Promise<SharedVerdict> {
    const { leases, retries, member } = this.#context;
    const measure = this.#measure(batch, index, range.partition, 1, failure);
    if (measure.kind === "drop") {
      await this.#refuse(batch, index, measure.reason);
      return {};
    }
    let tries = 0;
    const message = {
      position: range.position,
      lease: range.lease,
      offset: batch.baseOffset + index,
      // Handing it over again counts by itself: what is not to count begins one lower.
      attempt: measure.kind === "pause" || (measure.kind === "again" && !measure.counts) ? 0 : 1,
      delayMs: measure.kind === "again" ? measure.delayMs : 0,
      error: failureText(failure),
      key: keyAt(batch, index),
      mayBeDone: range.mayBeDone,
    };
    return await this.#untilWritten(async () => {
      tries += 1;
      // Asks the database first whether the handler's transaction has committed after all.
      const moved = await (async () => {
        if (measure.kind === "bury") return await leases.move(message, member);
        if (measure.kind === "pause")
          return { outcome: await leases.moveAndPause(message, this.#pauseFor(range.partition, message)), claim: 0 };
        return { outcome: await this.#move(message, tries === 1), claim: 0 };
      })();
      if (moved.outcome === "fenced") {
        range.lose();
        return "stopped";
      }
      if (moved.outcome === "done") return {};
      if (measure.kind === "again") {
        this.#context.kept.keep(range.partition, batch, index);
        return { retryInMs: measure.delayMs };
      }
      if (measure.kind === "pause") return "pause";
      const letter = this.#letter(batch, index, range.partition, 1, measure.reason, failure);
      await retries.bury({ ...message, claim: moved.claim }, letter);
      await this.#refuse(batch, index, measure.reason);
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
    const { messages, claim, partition, isRedriven } = retry;
    const measure = this.#measure(batch, index, partition, attempt, failure);
    const error = failureText(failure);
    return await this.#untilWritten(async () => {
      if (measure.kind === "drop") await messages.finish(claim);
      else if (measure.kind === "again") {
        const { delayMs } = measure;
        const counted = measure.counts ? {} : { attempt: attempt - 1 };
        if (await messages.putOff(claim, { delayMs, error, ...counted })) {
          if (!isRedriven) this.#context.kept.keep(partition, batch, index);
          return { retryInMs: delayMs, isRedriven };
        }
      } else if (measure.kind === "pause" && !isRedriven) {
        const pause = this.#pauseFor(partition, { offset: claim.offset, error });
        if (await this.#context.retries.pause(claim, error, pause)) return "pause";
      } else {
        // Whoever handed it over again is not to find the group paused.
        const reason = measure.kind === "bury" ? measure.reason : failure.kind === "misfit" ? "schema" : "exhausted";
        await messages.bury(claim, this.#letter(batch, index, partition, attempt, reason, failure));
        await this.#refuse(batch, index, reason);
      }
      if (measure.kind === "drop") await this.#refuse(batch, index, measure.reason);
      return {};
    });
  }

  /** A later attempt succeeded. Never rejects. */
  async done(retry: ClaimedRetry): Promise<SharedVerdict> {
    const { claim, messages, isRedriven } = retry;
    let tries = 0;
    return await this.#untilWritten(async () => {
      tries += 1;
      if (isRedriven || tries > 1) await messages.finish(claim);
      else await this.#finishing.add(claim);
      return {};
    });
  }

  /**
   * Notes that a message is about to be handed over by itself, which counts as an attempt. Never rejects.
   *
   * @param attempt which one it is
   * @returns the right to it; `"done"` when there is nothing to hand over any more
   */
  async accuse(
    range: LeasedRange,
    batch: ReadBatch,
    index: number,
    attempt: number,
  ): Promise<RetryClaim | "done" | "stopped"> {
    const { leases, member } = this.#context;
    const offset = batch.baseOffset + index;
    const { position, lease } = range;
    const error = "the process that had it in hand, perhaps among others, ended or froze";
    const message = { position, lease, offset, attempt, delayMs: 0, error, key: keyAt(batch, index), mayBeDone: true };
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

  /** Only the first try goes along with others: who was in a statement that failed for one's sake goes on alone. */
  async #move(message: MovedMessage, isFirstTry: boolean): Promise<MoveOutcome> {
    if (isFirstTry) return await this.#moving.add(message);
    const [outcome = "fenced"] = await this.#context.leases.moveAll([message]);
    return outcome;
  }

  #measure(batch: ReadBatch, index: number, partition: number, attempt: number, failure: Failure): Measure {
    const { consumer, logger } = this.#context;
    return measureOf(failure, { consumer, partition, offset: batch.baseOffset + index, attempt, logger });
  }

  /** Tells whoever asked for an answer that there will be none from here. */
  async #refuse(batch: ReadBatch, index: number, reason: "exhausted" | "rejected" | "schema"): Promise<void> {
    const { answers, consumer, signal } = this.#context;
    await answers.refuse(consumer, batch, index, reason, signal);
  }

  #letter(
    batch: ReadBatch,
    index: number,
    partition: number,
    attempts: number,
    reason: DeadLetter["reason"],
    failure: Failure,
  ): DeadLetter {
    const { group, entry } = this.#context;
    const error = failureText(failure);
    return deadLetterOf(batch, index, { group, topic: entry.number, partition, reason, error, attempts });
  }

  #pauseFor(partition: number, { offset, error }: { readonly offset: number; readonly error: string }): TopicPause {
    const { entry, consumer } = this.#context;
    const reason = `partition ${partition}, offset ${offset}: ${error}`.slice(0, 1_000).toWellFormed();
    return { group: consumer.group, topic: entry.name, reason };
  }

  async #untilWritten(write: () => Promise<SharedVerdict>): Promise<SharedVerdict> {
    const { entry, consumer } = this.#context;
    const names = { topic: entry.name, group: consumer.group };
    return await insist("writing what became of a message", this.#context, write, names);
  }
}
