import type { ConsumedRecord, Headers } from "@sluice/contract";
import type { ReadBatch } from "@sluice/log";

const noHeaders: Headers = Object.freeze({});

/** A record that reads from the batch it came in: nothing is copied that nobody asks for. */
export class BatchRecord<Value> implements ConsumedRecord<Value> {
  readonly topic: string;
  readonly partition: number;
  readonly value: Value;
  readonly #batch: ReadBatch;
  readonly #index: number;

  /** @param value decoded by the topic's schema */
  constructor(topic: string, partition: number, batch: ReadBatch, index: number, value: Value) {
    this.topic = topic;
    this.partition = partition;
    this.value = value;
    this.#batch = batch;
    this.#index = index;
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

  get tag(): string | null {
    const { headers } = this;
    return Object.hasOwn(headers, "tag") ? (headers["tag"] ?? null) : null;
  }

  get timestamp(): number {
    return timestampAt(this.#batch, this.#index);
  }

  get id(): string {
    return idAt(this.#batch, this.#index);
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
