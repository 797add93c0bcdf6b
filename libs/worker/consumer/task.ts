import type { AnyConsumer } from "@sluice/contract";
import { type Clock, SluiceError } from "@sluice/kernel";
import type { ReadBatch } from "@sluice/log";
import type { BatchEntry } from "./batch-delivery.ts";
import type { DeliveryOwner, Outcome } from "./delivery.ts";
import type { FailurePolicy } from "./failure-policy.ts";
import type { QueueLane } from "./lane-gate.ts";
import type { Progress } from "./progress.ts";
import type { PutOffMessage } from "./put-off-message.ts";
import type { RateLimiter } from "./rate-limiter.ts";
import type { RedrivenTask } from "./redriven-owner.ts";
import type { RetryKeeper } from "./retry-keeper.ts";

/** What a runner works with. */
export interface TaskRunnerContext {
  readonly consumer: AnyConsumer;
  readonly owner: DeliveryOwner;
  readonly progress: Progress;
  readonly keeper: RetryKeeper;
  readonly failures: FailurePolicy;
  readonly clock: Clock;
  /** Set where the partition is one of several lanes. */
  readonly lane: QueueLane | undefined;
  readonly rateLimiter: RateLimiter;
  /** Aborted when the partition is no longer this process's. */
  readonly signal: AbortSignal;
  /** Notes that a message which saw processes end is about to be handed over; gives which attempt that is. */
  readonly note: (offset: number) => Promise<number | "fenced" | "stopped">;
  /** Resolves when the partition is not paused, with whether anything may still be begun. */
  readonly mayBegin: () => Promise<boolean>;
  /** It is the turn of a redriven message, which waits in the same queue. */
  readonly onRedriven: (task: RedrivenTask) => void;
  /** The partition has another owner. */
  readonly onFenced: () => void;
  /** A message was given up whose consumer wants to stop at that. */
  readonly onPause: (offset: number, error: unknown) => Promise<void>;
  /** There may be room again. */
  readonly onRoom: () => void;
}

/** A record on its way through the handler. */
export interface Task {
  readonly key: string | null;
  readonly offset: number;
  readonly characters: number;
  /** `undefined` while it is put off, when its row holds it, and while its attempt is still to be counted. */
  record: BatchEntry | undefined;
  attempt: number;
  /** Whether it has a row in sluice.retry, and the position may pass it. */
  isPutOff: boolean;
  /** Whether it is handed over by itself, although the consumer takes batches. */
  isAlone: boolean;
  /** Whether it was in hand when a process ended, and so is to be handed over while nothing else is. Its `record` is not there then. */
  wasInHand?: boolean;
  /** The record of a message that saw processes end, until that it is handed over is noted. */
  suspect?: BatchEntry | undefined;
  /** Whether it has its turn under the rate limit. */
  hasTurn?: boolean;
  /** While it is put off and in memory: what its row says. */
  putOff?: PutOffMessage | undefined;
  /** Why it failed the last time. */
  error?: string;
}

/** What becomes of a message that saw its process end as often as it may be tried. */
export const neverFinished: Outcome = {
  kind: "failed",
  error: new SluiceError("PROCESS_ENDED", "its process ended while it was being handled, as often as it may be tried"),
};

/** A record in ordered mode, where nothing waits in line. */
export function inOrder(batch: ReadBatch, index: number): Task {
  const offset = batch.baseOffset + index;
  return { key: null, offset, characters: 0, record: { batch, index }, attempt: 1, isPutOff: false, isAlone: true };
}
