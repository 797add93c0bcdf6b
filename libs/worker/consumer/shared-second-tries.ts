import type { RetryClaim, SharedRetries, TakenRetry } from "@sluice/broker";
import type { AnyConsumer, Handler } from "@sluice/contract";
import { type Logger, SluiceError, toError } from "@sluice/kernel";
import { ClaimedRetry } from "./claimed-retry.ts";
import type { LeaseWriter } from "./lease-writer.ts";
import type { LeasedRange } from "./leased-range.ts";
import type { DeliveryServices } from "./message.ts";
import type { RangeReader } from "./range-reader.ts";
import type { SharedFailures, SharedVerdict } from "./shared-failures.ts";
import type { SharedHands } from "./shared-hands.ts";

/** What second tries work with. */
export interface SecondTriesContext {
  readonly consumer: AnyConsumer;
  readonly handler: Handler<unknown>;
  readonly services: DeliveryServices;
  readonly retries: SharedRetries;
  readonly failures: SharedFailures;
  readonly writer: LeaseWriter;
  readonly reader: RangeReader;
  readonly hands: SharedHands;
  readonly logger: Logger;
  readonly names: Readonly<Record<string, unknown>>;
  readonly onVerdict: (verdict: SharedVerdict) => void;
}

/**
 * Messages that are handed over not for the first time: those that failed and are due, and those of ranges whose member died or froze,
 * one of which may be why.
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

  /** A message that failed and was taken in hand again. */
  again(taken: TakenRetry, partition: number): void {
    const retry = this.#claimed(taken, partition, taken.attempt);
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

  async #handOver(retry: ClaimedRetry, { offset, attempt }: TakenRetry): Promise<void> {
    const { consumer, reader, failures, hands, writer, onVerdict } = this.#context;
    const batch = await reader.batchAt(retry.partition, offset);
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
    const { failures, hands, reader } = this.#context;
    for await (const batch of reader.batchesOf(range)) {
      const to = Math.min(batch.count, range.to - batch.baseOffset);
      for (let index = Math.max(0, range.from - batch.baseOffset); index < to; index += 1) {
        const offset = batch.baseOffset + index;
        if (range.isDone(offset)) continue;
        if (this.#stopped || range.isOver) return;
        const claim = await failures.accuse(range, batch, index);
        if (claim === "stopped") return;
        hands.done(range, offset);
        if (claim !== "done") await hands.untilHandled(this.#claimed(claim, range.partition, 1), batch, index);
      }
    }
  }

  #claimed(claim: RetryClaim, partition: number, attempt: number): ClaimedRetry {
    const { consumer, handler, services, retries, writer } = this.#context;
    const finish = (finished: RetryClaim) => retries.finish(finished);
    const retry = new ClaimedRetry({ consumer, handler, services, finish }, partition, claim, attempt);
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
