import type { AnyConsumer, HandlerContext, HandlerTransaction, Headers } from "@sluice/contract";
import { SluiceError } from "@sluice/kernel";
import type { ReadBatch } from "@sluice/log";
import type { HandlerTransactions, OpenTransaction } from "./handler-transaction.ts";

const noHeaders: Headers = Object.freeze({});

/** What a message needs of the partition it is from. */
export interface MessageHome {
  readonly consumer: AnyConsumer;
  readonly partition: number;
  readonly signal: AbortSignal;
  readonly transactions: HandlerTransactions;
  /** Writes the position now, with everything up to `offset` of this message counted as done. */
  commitNow(offset: number): Promise<void>;
}

/** One handing-over of one record: the context that a handler gets, reading from the batch it came in. */
export class Message implements HandlerContext<unknown> {
  readonly #home: MessageHome;
  readonly #batch: ReadBatch;
  readonly #index: number;
  readonly attempt: number;
  readonly value: unknown;
  #transaction: Promise<OpenTransaction> | undefined;
  #ended = false;

  /** @param value decoded by the topic's schema */
  constructor(home: MessageHome, batch: ReadBatch, index: number, attempt: number, value: unknown) {
    this.#home = home;
    this.#batch = batch;
    this.#index = index;
    this.attempt = attempt;
    this.value = value;
  }

  get topic(): string {
    return this.#home.consumer.topic.name;
  }

  get group(): string {
    return this.#home.consumer.group;
  }

  get partition(): number {
    return this.#home.partition;
  }

  get offset(): number {
    return this.#batch.baseOffset + this.#index;
  }

  get key(): string | null {
    return keyAt(this.#batch, this.#index);
  }

  get headers(): Headers {
    return headersAt(this.#batch, this.#index);
  }

  get timestamp(): number {
    return timestampAt(this.#batch, this.#index);
  }

  get id(): string {
    return idAt(this.#batch, this.#index);
  }

  get signal(): AbortSignal {
    return this.#home.signal;
  }

  async tx(): Promise<HandlerTransaction> {
    if (this.#ended) throw new SluiceError("CLOSED", "c.tx() was called after the handler had ended");
    this.#transaction ??= this.#home.transactions.open();
    return (await this.#transaction).tx as HandlerTransaction;
  }

  async commit(): Promise<void> {
    if (this.#transaction !== undefined) {
      throw new SluiceError(
        "INVALID_OPTIONS",
        "c.commit() and c.tx() exclude each other: the transaction commits the position",
      );
    }
    await this.#home.commitNow(this.offset);
  }

  /** The transaction that the handler opened, if it did; it can open none from now on. */
  end(): Promise<OpenTransaction> | undefined {
    this.#ended = true;
    return this.#transaction;
  }
}

/** The key of a batch's record. */
export function keyAt(batch: ReadBatch, index: number): string | null {
  return batch.keys === null ? null : (batch.keys[index] ?? null);
}

/** The headers of a batch's record. */
export function headersAt(batch: ReadBatch, index: number): Headers {
  return batch.attributes?.[index]?.headers ?? noHeaders;
}

/** The timestamp of a batch's record. */
export function timestampAt(batch: ReadBatch, index: number): number {
  return batch.attributes?.[index]?.timestamp ?? batch.appendedAtMs;
}

/** The id of a batch's record. */
export function idAt(batch: ReadBatch, index: number): string {
  return batch.attributes?.[index]?.id ?? `${batch.producer}-${batch.sequence + index}`;
}
