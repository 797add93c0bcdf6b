import { isSluiceError, SluiceError, toError } from "@sluice/kernel";
import type { ReadBatch } from "@sluice/log";
import type { SQL } from "drizzle-orm";
import type { Decision } from "./decision.ts";
import type { Expiry } from "./expiry.ts";
import type { MarkOutcome, OpenTransaction } from "./handler-transaction.ts";
import { Message, type MessageHome } from "./message.ts";
import { TimeLimit } from "./time-limit.ts";

/**
 * What became of handing a message over once. Of a {@link Decision}, `failed` is also what a throw comes to, and a transaction
 * that could not be committed: then the consumer's backoff says when to try again.
 */
export type Outcome =
  | { readonly kind: "done" }
  | Decision
  /** The record does not fit the topic's schema: no attempt will ever succeed. */
  | { readonly kind: "misfit"; readonly error: unknown }
  /** The partition has another owner; what the handler wrote in its transaction was undone. */
  | { readonly kind: "fenced" };

const done: Outcome = { kind: "done" };

/** The owner under whose epoch transactions commit. */
export interface DeliveryOwner extends MessageHome {
  readonly position: number;
  readonly epoch: number;
  /** Looked at before each attempt. Absent where nothing expires: somebody wanted what was redriven to be handed over. */
  readonly expiry?: Expiry | undefined;
  /** The call that marks a message as done in its handler's transaction, where it is not the position's own. */
  mark?(offset: number): SQL;
  /** The message at `offset` was done in its handler's transaction: its position may be written whatever the commit mode. */
  transactionCommitted(offset: number): void;
}

/**
 * Hands one record to the handler, once. Answers without a promise when the handler does: a promise per message is what a
 * fast handler would otherwise mostly wait for. Never throws and never rejects.
 */
export function deliver(
  owner: DeliveryOwner,
  batch: ReadBatch,
  index: number,
  attempt: number,
): Outcome | Promise<Outcome> {
  if (owner.expiry?.concerns(batch, index)) {
    return deliverInTime(owner, owner.expiry, batch, index, attempt);
  }
  return hand(owner, batch, index, attempt);
}

/** A record with a time to live: the handler gets it if that is not over. */
async function deliverInTime(
  owner: DeliveryOwner,
  expiry: Expiry,
  batch: ReadBatch,
  index: number,
  attempt: number,
): Promise<Outcome> {
  let isOver: boolean;
  // One that has expired may be given up as a dead letter.
  owner.commitBegins?.();
  try {
    isOver = await expiry.settle(batch, index, attempt);
  } catch (error) {
    return { kind: "failed", error: toError(error) };
  }
  if (owner.signal.aborted) return { kind: "failed", error: toError(owner.signal.reason) };
  return isOver ? done : await hand(owner, batch, index, attempt);
}

function hand(owner: DeliveryOwner, batch: ReadBatch, index: number, attempt: number): Outcome | Promise<Outcome> {
  let value: unknown;
  try {
    value = owner.consumer.topic.codec.decode(batch.values[index]);
  } catch (error) {
    return { kind: "misfit", error };
  }
  const limit = timeLimitOf(owner);
  const message = new Message(owner, batch, index, attempt, value, limit);
  try {
    const running = owner.handler(message);
    // Looked at in here, because a thing that is no promise may throw when it is.
    if (isPromise(running)) return settle(owner, message, running, limit);
  } catch (error) {
    limit?.end();
    return fail(owner, message, error);
  }
  limit?.end();
  return succeed(owner, message);
}

/** The time limit of one handing-over, if the consumer has one. */
export function timeLimitOf(owner: DeliveryOwner): TimeLimit | undefined {
  const { timeoutMs } = owner.consumer;
  return timeoutMs === undefined ? undefined : new TimeLimit(owner.services.clock, timeoutMs, owner.signal);
}

async function settle(
  owner: DeliveryOwner,
  message: Message,
  running: Promise<void>,
  limit: TimeLimit | undefined,
): Promise<Outcome> {
  try {
    await (limit === undefined ? running : limit.bound(running));
  } catch (error) {
    return await fail(owner, message, error);
  } finally {
    limit?.end();
  }
  return await succeed(owner, message);
}

function succeed(owner: DeliveryOwner, message: Message): Outcome | Promise<Outcome> {
  const transaction = message.end();
  if (message.isPlain) return done;
  const { decision } = message;
  if (decision !== undefined) return transaction === undefined ? decision : undo(transaction, decision);
  if (transaction === undefined && message.held === undefined && message.answer.length === 0) return done;
  return complete(owner, [message], transaction);
}

/**
 * Does what stands between a handler that ended well and messages that are done: sends what they held back, answers whoever
 * asked, marks them in their transaction and commits it. Never rejects.
 */
export async function complete(
  owner: DeliveryOwner,
  messages: readonly Message[],
  opening: Promise<OpenTransaction> | undefined,
): Promise<Outcome> {
  const { producer, answers } = owner.services;
  const replies = messages.flatMap(({ answer }) => answer);
  try {
    const transaction = await opening;
    const tx = transaction?.takeBack();
    try {
      for (const { held } of messages) await held?.send(producer, tx);
      await answers.send(replies, tx, owner.signal);
    } catch (error) {
      await transaction?.rollback();
      throw error;
    }
    if (transaction === undefined) return done;
    const offsets = messages.map(({ offset }) => offset);
    const outcome = await mark(owner, transaction, offsets);
    if (outcome === "fenced") return { kind: "fenced" };
    if (outcome === "already" && messages.length > 1) {
      throw new SluiceError(
        "DATABASE_CONTENTION",
        "some messages of a batch were done before; its transaction was undone",
      );
    }
    for (const offset of offsets) owner.transactionCommitted(offset);
    answers.ring(replies);
    return done;
  } catch (error) {
    return isSluiceError(error, "FENCED") ? { kind: "fenced" } : { kind: "failed", error: toError(error) };
  }
}

function mark(owner: DeliveryOwner, transaction: OpenTransaction, offsets: readonly number[]): Promise<MarkOutcome> {
  const { position, epoch } = owner;
  const [offset, ...others] = offsets;
  if (offset === undefined || others.length > 0) {
    const ascending = [...offsets].sort((left, right) => left - right);
    return transaction.commitAll(position, epoch, ascending);
  }
  return transaction.commit(position, epoch, offset, owner.mark?.(offset));
}

function fail(owner: DeliveryOwner, message: Message, thrown: unknown): Outcome | Promise<Outcome> {
  const transaction = message.end();
  if (message.decision !== undefined) logOverruled(owner, message, toError(thrown));
  const outcome = message.decision ?? { kind: "failed", error: thrown };
  return transaction === undefined ? outcome : undo(transaction, outcome);
}

/** Says that a handler threw after its verb, which stands. */
export function logOverruled({ consumer, services: { logger } }: DeliveryOwner, message: Message, error: Error): void {
  logger.log("debug", "a handler threw after a verb; the verb stands", {
    topic: message.topic,
    group: consumer.group,
    partition: message.partition,
    offset: message.offset,
    verb: message.verb,
    error,
  });
}

/** Rolls a transaction back, and then gives the outcome. */
export async function undo<Result>(opening: Promise<OpenTransaction>, outcome: Result): Promise<Result> {
  // One that failed to open has nothing to undo, and its failure is why the handler threw.
  const transaction = await opening.catch(() => undefined);
  transaction?.takeBack();
  await transaction?.rollback();
  return outcome;
}

function isPromise(value: unknown): value is Promise<void> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}
