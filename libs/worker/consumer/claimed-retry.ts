import type { RetryClaim } from "@sluice/broker";
import type { AnyConsumer, Handler } from "@sluice/contract";
import { SluiceError } from "@sluice/kernel";
import { type SQL, sql } from "drizzle-orm";
import type { DeliveryOwner } from "./delivery.ts";
import type { DeliveryServices } from "./message.ts";

/** A message of a shared group that failed before and that this process has in hand again. */
export class ClaimedRetry implements DeliveryOwner {
  readonly consumer: AnyConsumer;
  readonly handler: Handler<unknown>;
  readonly services: DeliveryServices;
  readonly partition: number;
  readonly position: number;
  readonly epoch = 0;
  readonly claim: RetryClaim;
  /** Which attempt this is. */
  readonly attempt: number;
  readonly #finish: (claim: RetryClaim) => Promise<void>;
  readonly #abort = new AbortController();
  readonly #settled = Promise.withResolvers<void>();
  #isFinished = false;

  constructor(
    home: {
      readonly consumer: AnyConsumer;
      readonly handler: Handler<unknown>;
      readonly services: DeliveryServices;
      readonly finish: (claim: RetryClaim) => Promise<void>;
    },
    partition: number,
    claim: RetryClaim,
    attempt: number,
  ) {
    this.consumer = home.consumer;
    this.handler = home.handler;
    this.services = home.services;
    this.#finish = home.finish;
    this.partition = partition;
    this.position = claim.position;
    this.claim = claim;
    this.attempt = attempt;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get isOver(): boolean {
    return this.#abort.signal.aborted;
  }

  /** Whether its row is gone because it is done: by {@link commitNow}, or in the handler's transaction. */
  get isFinished(): boolean {
    return this.#isFinished;
  }

  /** Resolves when this attempt is over, one way or another. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  settle(): void {
    this.#settled.resolve();
  }

  end(reason: SluiceError): void {
    this.#abort.abort(reason);
  }

  /** It is in another hand. */
  lose(): void {
    this.end(new SluiceError("FENCED", "the message is in another member's hand"));
  }

  async commitNow(): Promise<void> {
    await this.#finish(this.claim);
    this.#isFinished = true;
  }

  transactionCommitted(): void {
    this.#isFinished = true;
  }

  mark(offset: number): SQL {
    const { position, claim } = this.claim;
    return sql`select sluice.mark_retry_done(${position}, ${offset}::bigint, ${claim}::bigint) as outcome`;
  }
}
