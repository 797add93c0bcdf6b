import { type DelayedMessages, insertDelayed } from "@sluice/broker";
import {
  type Duration,
  isSluiceError,
  limits,
  type Problem,
  parseDurationMs,
  problemsError,
  SluiceError,
} from "@sluice/kernel";
import { callInTransaction, type Pool, type UserTransaction } from "@sluice/store";
import { mayHaveTakenEffect } from "./topic-producer.ts";

/** When a message is to come; one of the two, or neither: at once. */
export interface DelayOptions {
  /** Not before this long from now, by the database's clock: `"3d"`. */
  readonly delay?: Duration;
  /**
   * Not before this time, by the database's clock: a Date, or milliseconds since 1970. One that has passed is due at once;
   * the year 9999 is the last.
   */
  readonly deliverAt?: Date | number;
}

/**
 * When a message is due: at a time, or from the insert on. `undefined` when it is not delayed. Fails with INVALID_OPTIONS
 * and every problem at once; nothing was sent then.
 */
export function dueOf(
  topic: string,
  { delay, deliverAt }: DelayOptions,
): Pick<DelayedMessages, "dueMs" | "delayMs"> | undefined {
  if (delay === undefined && deliverAt === undefined) return undefined;
  const problems: Problem[] = [];
  if (delay !== undefined && deliverAt !== undefined) {
    problems.push({ path: "delay", message: "and deliverAt exclude each other" });
  }
  const delayMs = delay === undefined ? null : (parseDurationMs(delay) ?? Number.NaN);
  if (delayMs !== null && !(Date.now() + delayMs <= limits.lastTimeMs)) {
    problems.push({ path: "delay", message: 'must be a duration such as "90s" that ends before the year 10000' });
  }
  const dueMs = deliverAt === undefined ? null : timeOf(deliverAt);
  if (dueMs !== null && !(dueMs <= limits.lastTimeMs)) {
    problems.push({ path: "deliverAt", message: "must be a Date or milliseconds since 1970, before the year 10000" });
  }
  if (problems.length > 0) {
    throw problemsError("INVALID_OPTIONS", `nothing was sent to topic ${topic}:`, problems);
  }
  // Up to the next whole millisecond: later is allowed, earlier is not.
  return { dueMs: dueMs === null ? null : Math.max(0, Math.ceil(dueMs)), delayMs };
}

function timeOf(deliverAt: unknown): number {
  const time = deliverAt instanceof Date ? deliverAt.getTime() : deliverAt;
  return typeof time === "number" && Number.isFinite(time) ? time : Number.NaN;
}

/**
 * Keeps messages until they are due, within the user's transaction if there is one. Resolves with their numbers.
 *
 * Fails with COMMIT_UNKNOWN when there is none and the answer was lost: they may have been kept.
 */
export async function keepDelayed(
  pool: Pool,
  transaction: UserTransaction | undefined,
  topic: string,
  delayed: DelayedMessages,
): Promise<readonly string[]> {
  const what = `sending to topic ${topic}`;
  if (transaction !== undefined) {
    const numbers = await callInTransaction(transaction, what, "sluice.delayed_insert", [
      String(delayed.topic),
      delayed.messages,
      delayed.dueMs === null ? null : String(delayed.dueMs),
      delayed.delayMs === null ? null : String(delayed.delayMs),
      String(delayed.ring),
    ]);
    return numbers.split(",");
  }
  try {
    return (await insertDelayed(pool, what, delayed)).split(",");
  } catch (error) {
    if (!mayHaveTakenEffect(error) || isSluiceError(error, "CLOSED")) throw error;
    throw new SluiceError(
      "COMMIT_UNKNOWN",
      `${what}: the database did not answer. The delayed messages may have been kept; select from sluice.delayed_messages tells.`,
      { cause: error },
    );
  }
}
