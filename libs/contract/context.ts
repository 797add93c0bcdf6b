import type { Duration } from "@sluice/kernel";
import type { ConsumedRecord, RecordOptions } from "./record.ts";
import type { Topic } from "./topic.ts";

/**
 * The transaction of {@link HandlerContext.tx}; the runtime that supplies it adds its type here (declaration merging),
 * because a contract knows no database.
 */
// biome-ignore lint/suspicious/noEmptyInterface: merged by the room that opens transactions
export interface HandlerTransaction {}

/** What a handler may ask for instead of "done". */
export type Verb = "retry" | "reject" | "release";

/** When and why a message is to be tried again. */
export interface RetryOptions {
  /** How long to wait, at most seven days. Default: the consumer's backoff. */
  readonly after?: Duration;
  /** Kept in the log line, and in the dead letter if this was the last attempt. */
  readonly reason?: string;
}

/**
 * What a handler gets: the message, and what it may do with it. Returning means done, throwing means try again; the verbs
 * `retry`, `reject` and `release` mean what they say, whatever the handler does afterwards. The first verb wins: a second
 * one, or one after the handler has ended, throws HANDLER_MISUSE. Each of the three undoes what `c.tx()` and `c.send()` did.
 */
export interface HandlerContext<Value, Reply = never> extends ConsumedRecord<Value> {
  /** The group on whose behalf this runs. */
  readonly group: string;
  /** Which time it is that the message is handed over, from 1 on: counted for the group, whichever process did it. */
  readonly attempt: number;
  /** The verb that was called; `undefined` while none was. */
  readonly verb: Verb | undefined;
  /**
   * Aborted when the process must stop before the handler is done, when its partition has another owner, and when the
   * consumer's `timeout` is over (with HANDLER_TIMEOUT as its reason).
   */
  readonly signal: AbortSignal;
  /**
   * The transaction in which this message's position commits, opened at the first call: what the handler writes in it
   * happens exactly once, together with the position. It commits when the handler returns, rolls back when it throws.
   *
   * Fails with FENCED at the commit when the partition has another owner by then; nothing was written then.
   *
   * @example
   * handler: async (c) => { const tx = await c.tx(); await tx.insert(people).values(c.value) }
   */
  tx(): Promise<HandlerTransaction>;
  /**
   * With `commit: "explicit"`: marks everything up to this message as done and writes the position now.
   * Resolves when it is durable. In `"interval"` mode it does the same ahead of the interval.
   */
  commit(): Promise<void>;
  /**
   * Tries again after `after` (default: the consumer's backoff). Counts as an attempt, and on the last one the message goes
   * where `onExhausted` says.
   *
   * Fails with HANDLER_MISUSE when the outcome is decided, INVALID_OPTIONS for what is no duration of at most seven days.
   */
  retry(after?: Duration | RetryOptions): void;
  /**
   * Gives the message up at once: into the dead letters with reason `rejected` and this text, whatever `onExhausted` says,
   * except that `"drop"` drops it.
   *
   * Fails with HANDLER_MISUSE when the outcome is decided.
   */
  reject(reason: string): void;
  /**
   * Hands the message over again after `after` (default one second), without spending an attempt: for "not now", such as a
   * service that is down. Its partition (or key) waits as it does for a retry.
   *
   * Fails as `retry` does.
   */
  release(after?: Duration): void;
  /**
   * Sends when the handler ends well: with `c.tx()`, in that transaction; without, with `acks: "all"` before this message
   * counts as done, and a failure is a failed attempt. Nobody sees it when the handler fails or calls a verb. The value is
   * checked now. At most 2,000 a handing-over.
   *
   * Fails with INVALID_VALUE or RECORD_TOO_LARGE, and HANDLER_MISUSE when the outcome is decided.
   */
  send<Sent>(topic: Topic<Sent>, value: Sent, options?: RecordOptions): void;
  /**
   * Answers whoever asked with `sluice.request`, when the handler ends well: with `c.tx()`, in that transaction; without, before
   * this message counts as done. The first answer that anybody gives is the one that counts. Nobody hears it when the handler
   * fails or calls a verb. The value is checked now.
   *
   * @returns whether the message asked for an answer; when it did not, nothing happens
   *
   * Fails with INVALID_VALUE or RECORD_TOO_LARGE, and with HANDLER_MISUSE when the topic declares no `replies`, this consumer
   * `answers` nothing, the outcome is decided, or it was answered before.
   */
  reply(value: Reply): boolean;
  /**
   * Moves the time limit to at least `duration` from now, at most an hour; any number of times. Nothing happens without a limit.
   *
   * Fails with HANDLER_MISUSE after the handler has ended, INVALID_OPTIONS for what is no such duration.
   */
  extend(duration: Duration): void;
}

/** What a batch handler gets. */
export interface BatchContext<Value, Reply = never> {
  /**
   * One and more, in the order of their offsets. A verb on one of them is about that one: those that got none are done
   * when the handler returns. `tx`, `signal` and `extend` of each are the batch's.
   */
  readonly messages: readonly HandlerContext<Value, Reply>[];
  readonly topic: string;
  readonly partition: number;
  readonly group: string;
  /** As {@link HandlerContext.signal}. */
  readonly signal: AbortSignal;
  /** One transaction for the batch: it commits with the positions of all its messages that got no verb. */
  tx(): Promise<HandlerTransaction>;
  /** As {@link HandlerContext.extend}, for the batch. */
  extend(duration: Duration): void;
}
