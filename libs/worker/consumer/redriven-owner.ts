import type { RedrivenMessage } from "@sluice/broker";
import type { AnyConsumer, Handler } from "@sluice/contract";
import type { ReadBatch } from "@sluice/log";
import { type SQL, sql } from "drizzle-orm";
import type { DeliveryOwner } from "./delivery.ts";
import { keptBatch } from "./kept-batch.ts";
import type { KeyedTask } from "./keyed-queue.ts";
import type { DeliveryServices } from "./message.ts";

/** A redriven message on its way through the handler, as a batch of one, at the offset that it had. */
export class RedrivenTask implements KeyedTask {
  readonly number: number;
  readonly key: string | null;
  readonly batch: ReadBatch;
  /** How often it was handed over. */
  attempts: number;

  constructor(message: RedrivenMessage) {
    this.number = message.number;
    this.key = message.key;
    this.batch = keptBatch(message);
    this.attempts = message.attempts;
  }
}

/**
 * Owns one redriven message while it is handed over: what the partition is, except that being done means that its row is
 * gone, and says nothing of the position.
 */
export class RedrivenOwner implements DeliveryOwner {
  readonly consumer: AnyConsumer;
  readonly partition: number;
  readonly position: number;
  readonly epoch: number;
  readonly signal: AbortSignal;
  readonly handler: Handler<unknown>;
  readonly services: DeliveryServices;
  readonly #number: number;
  readonly #settle: () => Promise<void>;
  /** Whether its row is gone already. */
  isSettled = false;

  /** @param settle deletes the row; rejects when the position has another owner */
  constructor(home: Omit<DeliveryOwner, "commitNow">, number: number, settle: () => Promise<void>) {
    this.consumer = home.consumer;
    this.partition = home.partition;
    this.position = home.position;
    this.epoch = home.epoch;
    this.signal = home.signal;
    this.handler = home.handler;
    this.services = home.services;
    this.#number = number;
    this.#settle = settle;
  }

  /** Its row goes in the handler's transaction. */
  mark(): SQL {
    return sql`sluice.mark_redriven(${this.position}, ${this.epoch}::bigint, ${this.#number}::bigint)`;
  }

  transactionCommitted(): void {
    this.isSettled = true;
  }

  async commitNow(): Promise<void> {
    await this.#settle();
    this.isSettled = true;
  }
}
