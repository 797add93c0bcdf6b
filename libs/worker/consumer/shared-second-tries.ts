import type { ClaimedMessages, SharedRetries, TakenRetry } from "@sluice/broker";
import type { AnyConsumer, Handler } from "@sluice/contract";
import { type Logger, SluiceError, toError } from "@sluice/kernel";
import type { ReadBatch } from "@sluice/log";
import type { BatchEntry } from "./batch-delivery.ts";
import { ClaimedRetry } from "./claimed-retry.ts";
import { carefulReserve, toleratedCrashes } from "./hand-out-reserve.ts";
import { keptBatch } from "./kept-batch.ts";
import type { KeptMessages } from "./kept-messages.ts";
import type { LeaseWriter } from "./lease-writer.ts";
import type { LeasedRange } from "./leased-range.ts";
import type { DeliveryServices } from "./message.ts";
import type { RangeReader } from "./range-reader.ts";
import type { SharedExpiry } from "./shared-expiry.ts";
import type { SharedFailures, SharedVerdict } from "./shared-failures.ts";
import type { SharedHands } from "./shared-hands.ts";

/** After so many ends of processes a range is handed over in steps. */
const stepsAfterEnds = 2;

/** What second tries work with. */
export interface SecondTriesContext {
  readonly consumer: AnyConsumer;
  readonly handler: Handler<unknown>;
  readonly services: DeliveryServices;
  readonly retries: SharedRetries;
  readonly kept: KeptMessages;
  readonly failures: SharedFailures;
  readonly expiry: SharedExpiry;
  readonly writer: LeaseWriter;
  readonly reader: RangeReader;
  readonly hands: SharedHands;
  readonly logger: Logger;
  readonly names: Readonly<Record<string, unknown>>;
  readonly onVerdict: (verdict: SharedVerdict) => void;
}

/** How many of a range's messages, the first that are not done, may be why the last process ended that had it. */
function suspectsIn({ deliveries }: LeasedRange, consumer: AnyConsumer): number {
  const tolerated = toleratedCrashes(consumer);
  if (deliveries <= tolerated) return 0;
  return tolerated < stepsAfterEnds ? Number.POSITIVE_INFINITY : carefulReserve;
}

/**
 * Messages that are handed over not for the first time: those that failed and are due, those that were redriven, and those of ranges
 * whose member died or froze, one of which may be why.
 */
export class SecondTries {
  readonly #context: SecondTriesContext;
  readonly #suspects: LeasedRange[] = [];
  #examining = false;
  #stopped = false;
  #work: Promise<unknown> = Promise.resolve();

  constructor(context: SecondTriesContext) {
    this.#context = context;
  }

  /** A message that failed or was redriven, and was taken in hand. */
  again(messages: ClaimedMessages, taken: TakenRetry, partition: number): void {
    const retry = this.#claimed(messages, taken, partition);
    this.#inBackground(() => this.#handOver(retry, taken));
  }

  /**
   * A range that came back from a member that died or froze. Tells whether it is seen to here; else it is to be handed over as any
   * other, because one end says little about so many messages.
   */
  takes(range: LeasedRange): boolean {
    if (range.deliveries < Math.min(stepsAfterEnds, 1 + toleratedCrashes(this.#context.consumer))) return false;
    this.#suspects.push(range);
    if (this.#examining) return true;
    this.#examining = true;
    this.#inBackground(async () => {
      try {
        for (let next = this.#suspects.shift(); next !== undefined; next = this.#suspects.shift())
          await this.#examine(next);
      } finally {
        this.#examining = false;
      }
    });
    return true;
  }

  /** Begins nothing any more. */
  halt(): void {
    this.#stopped = true;
  }

  /** Resolves when nothing is under way any more. */
  async idle(): Promise<void> {
    await this.#work;
  }

  async #handOver(retry: ClaimedRetry, { offset, attempt, message }: TakenRetry): Promise<void> {
    const { consumer, reader, failures, hands, kept, writer, onVerdict } = this.#context;
    const { partition } = retry;
    const batch =
      message === undefined
        ? (kept.take(partition, offset) ?? (await hands.expect(() => reader.batchAt(partition, offset))))
        : keptBatch(message);
    if (batch === "stopped") return;
    if (batch === undefined) {
      await failures.done(retry);
      writer.removeClaim(retry);
      return;
    }
    const index = offset - batch.baseOffset;
    if (attempt > consumer.attempts) {
      const error = new SluiceError("CLOSED", "the process ended while it handled the message");
      onVerdict(await failures.ofRetry(retry, batch, index, { kind: "failed", error }));
      writer.removeClaim(retry);
      return;
    }
    await hands.untilHandled(retry, batch, index);
  }

  /**
   * Hands a range over that saw several processes end: in small steps, each written before the next, so that few are suspected if
   * another one ends; and where too many have, those that were in hand with the last of them one by one.
   */
  async #examine(range: LeasedRange): Promise<void> {
    const { consumer, hands, reader, writer } = this.#context;
    let suspects = suspectsIn(range, consumer);
    const most = Math.min(carefulReserve, consumer.prefetch);
    const step: BatchEntry[] = [];
    const takeStep = async () => {
      if (step.length === 0) return;
      await hands.untilDone(range, step.splice(0));
      await writer.tryNow(range);
    };
    for await (const batch of reader.batchesOf(range)) {
      const to = Math.min(batch.count, range.to - batch.baseOffset);
      for (let index = Math.max(0, range.from - batch.baseOffset); index < to; index += 1) {
        if (range.isDone(batch.baseOffset + index)) continue;
        if (this.#stopped || range.isOver) return;
        if (suspects > 0) {
          suspects -= 1;
          if (!(await this.#handOverAlone(range, batch, index))) return;
        } else if (step.push({ batch, index }) >= most) await takeStep();
      }
    }
    await takeStep();
  }

  /** Hands one message over by itself, noted as an attempt before. Resolves with whether to go on with the range. */
  async #handOverAlone(range: LeasedRange, batch: ReadBatch, index: number): Promise<boolean> {
    const { consumer, failures, hands, retries } = this.#context;
    const attempt = 1 + toleratedCrashes(consumer);
    const claim = await failures.accuse(range, batch, index, attempt);
    if (claim === "stopped") return false;
    hands.done(range, batch.baseOffset + index);
    if (claim !== "done")
      await hands.untilHandled(this.#claimed(retries, { ...claim, attempt }, range.partition), batch, index);
    return true;
  }

  #claimed(messages: ClaimedMessages, claim: TakenRetry, partition: number): ClaimedRetry {
    const { consumer, handler, services, writer, expiry } = this.#context;
    const expiryOf = (one: ClaimedRetry) => expiry.ofRetry(one);
    const retry = new ClaimedRetry({ consumer, handler, services, partition, messages, expiryOf }, claim);
    writer.addClaim(retry);
    return retry;
  }

  #inBackground(work: () => Promise<void>): void {
    const { logger, names } = this.#context;
    const running = work().catch((error: unknown) =>
      logger.log("warn", "a message could not be handed over; it is taken up again when its lease has run out", {
        ...names,
        error: toError(error),
      }),
    );
    this.#work = Promise.all([this.#work, running]);
  }
}
