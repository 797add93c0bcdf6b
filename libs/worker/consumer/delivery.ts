import { isSluiceError } from "@sluice/kernel";
import type { ReadBatch } from "@sluice/log";
import type { SQL } from "drizzle-orm";
import type { Expiry } from "./expiry.ts";
import type { OpenTransaction } from "./handler-transaction.ts";
import { Message, type MessageHome } from "./message.ts";

/** What became of handing a message over once. */
export type Outcome =
  | { readonly kind: "done" }
  /** The handler threw, or its transaction could not be committed. */
  | { readonly kind: "failed"; readonly error: unknown }
  /** The record does not fit the topic's schema: no attempt will ever succeed. */
  | { readonly kind: "misfit"; readonly error: unknown }
  /** The partition has another owner; what the handler wrote in its transaction was undone. */
  | { readonly kind: "fenced" };

const done: Outcome = { kind: "done" };

/** The owner under whose epoch transactions commit. */
export interface DeliveryOwner extends MessageHome {
  readonly position: number;
  readonly epoch: number;
  /** Absent where nothing expires: what was put off or redriven has had its turn. */
  readonly expiry?: Expiry;
  /** The statement that marks a message as done in its handler's transaction, where it is not the position's own. */
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
  if (attempt === 1 && owner.expiry?.concerns(batch, index)) {
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
  try {
    isOver = await expiry.settle(batch, index);
  } catch (error) {
    return { kind: "failed", error };
  }
  if (owner.signal.aborted) return { kind: "failed", error: owner.signal.reason };
  return isOver ? done : await hand(owner, batch, index, attempt);
}

function hand(owner: DeliveryOwner, batch: ReadBatch, index: number, attempt: number): Outcome | Promise<Outcome> {
  let value: unknown;
  try {
    value = owner.consumer.topic.codec.decode(batch.values[index]);
  } catch (error) {
    return { kind: "misfit", error };
  }
  const message = new Message(owner, batch, index, attempt, value);
  let running: void | Promise<void>;
  try {
    running = owner.consumer.handler(message);
  } catch (error) {
    return fail(message, error);
  }
  return isPromise(running) ? settle(owner, message, running) : succeed(owner, message);
}

async function settle(owner: DeliveryOwner, message: Message, running: Promise<void>): Promise<Outcome> {
  try {
    await running;
  } catch (error) {
    return await fail(message, error);
  }
  return await succeed(owner, message);
}

function succeed(owner: DeliveryOwner, message: Message): Outcome | Promise<Outcome> {
  const transaction = message.end();
  return transaction === undefined ? done : commit(owner, message, transaction);
}

async function commit(owner: DeliveryOwner, message: Message, opening: Promise<OpenTransaction>): Promise<Outcome> {
  try {
    const transaction = await opening;
    const outcome = await transaction.commit(owner.position, owner.epoch, message.offset, owner.mark?.(message.offset));
    if (outcome === "fenced") return { kind: "fenced" };
    owner.transactionCommitted(message.offset);
    return done;
  } catch (error) {
    return isSluiceError(error, "FENCED") ? { kind: "fenced" } : { kind: "failed", error };
  }
}

function fail(message: Message, error: unknown): Outcome | Promise<Outcome> {
  const transaction = message.end();
  return transaction === undefined ? { kind: "failed", error } : undo(transaction, error);
}

async function undo(opening: Promise<OpenTransaction>, error: unknown): Promise<Outcome> {
  // One that failed to open has nothing to undo, and its failure is why the handler threw.
  const transaction = await opening.catch(() => undefined);
  await transaction?.rollback();
  return { kind: "failed", error };
}

function isPromise(value: unknown): value is Promise<void> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}
