import { Buffer } from "node:buffer";
import { type DeadLetterReason, type Doorbell, Replies, type Reply, repliesJson } from "@sluice/broker";
import { type AnyConsumer, askedBy, type Headers } from "@sluice/contract";
import { type Clock, type Logger, limits, SluiceError, toError } from "@sluice/kernel";
import type { ReadBatch } from "@sluice/log";
import { callInTransaction, type Pool, type UserTransaction } from "@sluice/store";
import { headersAt } from "../batch-record.ts";
import { GatheredCalls } from "./gathered-calls.ts";
import { insist } from "./insist.ts";

/** What answering works with. */
export interface AnswersContext {
  readonly pool: Pool;
  readonly doorbell: Doorbell;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** Answers of one statement: their values go along. */
const gatheredAnswers = 64;

/**
 * What `c.reply` is to send; `undefined` when the message asked for no answer.
 *
 * Fails with HANDLER_MISUSE when this consumer answers nothing, INVALID_VALUE or RECORD_TOO_LARGE.
 */
export function replyOf({ topic, group, answers }: AnyConsumer, headers: Headers, value: unknown): Reply | undefined {
  if (topic.replies === null || !answers) {
    const why = topic.replies === null ? `topic ${topic.name} declares no replies` : `group ${group} answers nothing`;
    throw new SluiceError("HANDLER_MISUSE", `c.reply() had no effect: ${why}`);
  }
  const text = topic.replies.encode(value);
  const bytes = Buffer.byteLength(text);
  if (bytes > limits.valueBytes) {
    throw new SluiceError(
      "RECORD_TOO_LARGE",
      `the reply has ${bytes} bytes, and a reply has ${limits.valueBytes} at most; nothing was sent. Keep large things elsewhere and send where they are.`,
      { problems: [{ path: "reply", message: `${bytes} bytes, at most ${limits.valueBytes}` }] },
    );
  }
  const asked = askedBy(headers);
  return asked === undefined ? undefined : { ...asked, value: text };
}

/** Answers to messages that asked for one, on their way to whoever asked: those of one process share statements. */
export class Answers {
  readonly #context: AnswersContext;
  readonly #gathered: GatheredCalls<Reply, undefined>;

  constructor(context: AnswersContext) {
    this.#context = context;
    const replies = new Replies(context.pool);
    this.#gathered = new GatheredCalls<Reply, undefined>({ limit: gatheredAnswers, everyMs: 0 }, async (gathered) => {
      const dropped = gathered.length - (await replies.keep(gathered));
      if (dropped > 0) context.logger.log("debug", "answers were dropped: others came first", { dropped });
      return gathered.map(() => undefined);
    });
  }

  /**
   * Sends answers: within `tx`, to be rung for by {@link ring} when it has committed; or now, and again while somebody may be
   * waiting for them. Fails when one is refused, or when `signal` is aborted meanwhile.
   */
  async send(replies: readonly Reply[], tx: UserTransaction | undefined, signal: AbortSignal): Promise<void> {
    if (replies.length === 0) return;
    if (tx !== undefined) await callInTransaction(tx, "answering", "sluice.answer", [repliesJson(replies), "false"]);
    else await Promise.all(replies.map((reply) => this.#keep(reply, signal)));
  }

  /** Tells those who asked that the transaction with their answers has committed. */
  ring(replies: readonly Reply[]): void {
    if (replies.length > 0) this.#context.doorbell.ringReplies(replies);
  }

  /**
   * Tells whoever asked that this group has given the message up, if it answers at all. Never rejects: what cannot be told in time is a
   * time-out.
   */
  async refuse(
    consumer: AnyConsumer,
    batch: ReadBatch,
    index: number,
    failure: DeadLetterReason,
    signal: AbortSignal,
  ): Promise<void> {
    if (!consumer.answers) return;
    const asked = askedBy(headersAt(batch, index));
    if (asked === undefined) return;
    try {
      await this.#keep({ ...asked, failure }, signal);
    } catch (error) {
      const fields = { topic: consumer.topic.name, group: consumer.group, error: toError(error) };
      this.#context.logger.log("warn", "whoever asked was not told that the message was given up", fields);
    }
  }

  async #keep(reply: Reply, signal: AbortSignal): Promise<void> {
    try {
      await this.#gathered.add(reply);
    } catch (error) {
      if (!(error instanceof SluiceError && error.retryable)) throw error;
      // After that nobody waits for it, so there is nothing left to fail at.
      const inTime = AbortSignal.timeout(reply.withinMs);
      const context = { ...this.#context, signal: AbortSignal.any([signal, inTime]) };
      await insist("answering", context, () => this.#gathered.add(reply));
      if (signal.aborted) throw signal.reason;
    }
  }
}
