import type { ClaimedMessages, SharedRetries, TakenRetry } from "@sluice/broker";
import type { AnyConsumer, Handler } from "@sluice/contract";
import { type Logger, SluiceError, toError } from "@sluice/kernel";
import { ClaimedRetry } from "./claimed-retry.ts";
import { keptBatch } from "./kept-batch.ts";
import type { KeptMessages } from "./kept-messages.ts";
import type { LeaseWriter } from "./lease-writer.ts";
import type { LeasedRange } from "./leased-range.ts";
import type { DeliveryServices } from "./message.ts";
import type { RangeReader } from "./range-reader.ts";
import type { SharedExpiry } from "./shared-expiry.ts";
import type { SharedFailures, SharedVerdict } from "./shared-failures.ts";
import type { SharedHands } from "./shared-hands.ts";

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

  /** A range that came back from a member that died or froze. */
  suspect(range: LeasedRange): void {
    this.#suspects.push(range);
    if (this.#examining) return;
    this.#examining = true;
    this.#inBackground(async () => {
      try {
        for (let next = this.#suspects.shift(); next !== undefined; next = this.#suspects.shift())
          await this.#examine(next);
      } finally {
        this.#examining = false;
      }
    });
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

  /** Hands a range's messages over one after the other, each noted as an attempt before it begins. */
  async #examine(range: LeasedRange): Promise<void> {
    const { failures, hands, reader, retries } = this.#context;
    for await (const batch of reader.batchesOf(range)) {
      const to = Math.min(batch.count, range.to - batch.baseOffset);
      for (let index = Math.max(0, range.from - batch.baseOffset); index < to; index += 1) {
        const offset = batch.baseOffset + index;
        if (range.isDone(offset)) continue;
        if (this.#stopped || range.isOver) return;
        const claim = await failures.accuse(range, batch, index);
        if (claim === "stopped") return;
        hands.done(range, offset);
        if (claim !== "done")
          await hands.untilHandled(this.#claimed(retries, { ...claim, attempt: 1 }, range.partition), batch, index);
      }
    }
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
