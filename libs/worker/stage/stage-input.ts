import type { HandlerTransaction, StageInput } from "@sluice/contract";
import type { ReadBatch } from "@sluice/log";
import { BatchRecord } from "../batch-record.ts";

/** What the messages of one transaction share. */
export interface SharedHome {
  readonly topic: string;
  readonly group: string;
  readonly partition: number;
  readonly signal: AbortSignal;
  tx(): Promise<HandlerTransaction>;
}

/** One of several messages that are handled in one transaction. */
export class SharedInput extends BatchRecord<unknown> implements StageInput<unknown> {
  readonly #home: SharedHome;
  readonly attempt = 1;

  /** @param value decoded by the topic's schema */
  constructor(home: SharedHome, batch: ReadBatch, index: number, value: unknown) {
    super(home.topic, home.partition, batch, index, value);
    this.#home = home;
  }

  get group(): string {
    return this.#home.group;
  }

  get signal(): AbortSignal {
    return this.#home.signal;
  }

  tx(): Promise<HandlerTransaction> {
    return this.#home.tx();
  }
}
