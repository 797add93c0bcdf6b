import type { AnyConsumer, HandlerContext, HandlerTransaction } from "@sluice/contract";
import { SluiceError } from "@sluice/kernel";
import type { ReadBatch } from "@sluice/log";
import { BatchRecord } from "../batch-record.ts";
import type { HandlerTransactions, OpenTransaction } from "./handler-transaction.ts";

/** What a message needs of the partition it is from. */
export interface MessageHome {
  readonly consumer: AnyConsumer;
  readonly partition: number;
  readonly signal: AbortSignal;
  readonly transactions: HandlerTransactions;
  /** Writes the position now, with everything up to `offset` of this message counted as done. */
  commitNow(offset: number): Promise<void>;
}

/** One handing-over of one record: the context that a handler gets. */
export class Message extends BatchRecord<unknown> implements HandlerContext<unknown> {
  readonly #home: MessageHome;
  readonly attempt: number;
  #transaction: Promise<OpenTransaction> | undefined;
  #ended = false;

  /** @param value decoded by the topic's schema */
  constructor(home: MessageHome, batch: ReadBatch, index: number, attempt: number, value: unknown) {
    super(home.consumer.topic.name, home.partition, batch, index, value);
    this.#home = home;
    this.attempt = attempt;
  }

  get group(): string {
    return this.#home.consumer.group;
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
