import type { ClaimedMessages, TakenRetry } from "@sluice/broker";
import type { AnyConsumer, Handler } from "@sluice/contract";
import { SluiceError } from "@sluice/kernel";
import { type SQL, sql } from "drizzle-orm";
import type { DeliveryOwner } from "./delivery.ts";
import type { Expiry } from "./expiry.ts";
import type { DeliveryServices } from "./message.ts";

/** What a message in hand needs of its surroundings. */
export interface ClaimedRetryHome {
  readonly consumer: AnyConsumer;
  readonly handler: Handler<unknown>;
  readonly services: DeliveryServices;
  readonly partition: number;
  /** Where its row is. */
  readonly messages: ClaimedMessages;
  /** Decides whether it may still be handed over. */
  readonly expiryOf: (retry: ClaimedRetry) => Expiry;
}

/** A message of a shared group that failed before, or was redriven, and that this process has in hand. */
export class ClaimedRetry implements DeliveryOwner {
  readonly consumer: AnyConsumer;
  readonly handler: Handler<unknown>;
  readonly services: DeliveryServices;
  readonly partition: number;
  readonly position: number;
  readonly epoch = 0;
  readonly claim: TakenRetry;
  readonly messages: ClaimedMessages;
  /** Which attempt this is. */
  readonly attempt: number;
  /** What was redriven has had its time. */
  readonly expiry: Expiry | undefined;
  readonly #abort = new AbortController();
  readonly #settled = Promise.withResolvers<void>();
  #isFinished = false;

  constructor(home: ClaimedRetryHome, claim: TakenRetry) {
    this.consumer = home.consumer;
    this.handler = home.handler;
    this.services = home.services;
    this.messages = home.messages;
    this.partition = home.partition;
    this.position = claim.position;
    this.claim = claim;
    this.attempt = claim.attempt;
    this.expiry = this.isRedriven ? undefined : home.expiryOf(this);
  }

  /** Whether it was redriven: then it waits beside the log, and its attempts began anew. */
  get isRedriven(): boolean {
    return this.claim.message !== undefined;
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
    await this.messages.finish(this.claim);
    this.#isFinished = true;
  }

  transactionCommitted(): void {
    this.#isFinished = true;
  }

  mark(offset: number): SQL {
    const { position, claim } = this.claim;
    return this.isRedriven
      ? sql`sluice.mark_redriven_done(${position}, ${offset}::bigint, ${claim}::bigint)`
      : sql`sluice.mark_retry_done(${position}, ${offset}::bigint, ${claim}::bigint)`;
  }
}
