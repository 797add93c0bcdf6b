import type { SendResult } from "@sluice/contract";
import type { Completion } from "./accumulator.ts";

/** Completes one promise with one result. */
export class SingleCompletion implements Completion {
  readonly promise: Promise<SendResult>;
  readonly #topic: string;
  readonly #producer: number;
  #resolve!: (result: SendResult) => void;
  #reject!: (error: unknown) => void;

  constructor(topic: string, producer: number) {
    this.#topic = topic;
    this.#producer = producer;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  appended(_index: number, partition: number, offset: number, sequence: number): void {
    this.#resolve({ status: "appended", topic: this.#topic, partition, offset, id: `${this.#producer}-${sequence}` });
  }

  answered(_index: number, result: SendResult): void {
    this.#resolve(result);
  }

  failed(_index: number, error: unknown): void {
    this.#reject(error);
  }
}

/** Completes one promise once all of its records are settled; with the first error, if there was one. */
export class BatchCompletion implements Completion {
  readonly promise: Promise<SendResult[]>;
  readonly #topic: string;
  readonly #producer: number;
  readonly #results: SendResult[];
  #open: number;
  #error: { readonly error: unknown } | undefined;
  #resolve!: (results: SendResult[]) => void;
  #reject!: (error: unknown) => void;

  constructor(topic: string, producer: number, count: number) {
    this.#topic = topic;
    this.#producer = producer;
    this.#results = new Array<SendResult>(count);
    this.#open = count;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  appended(index: number, partition: number, offset: number, sequence: number): void {
    this.#results[index] = {
      status: "appended",
      topic: this.#topic,
      partition,
      offset,
      id: `${this.#producer}-${sequence}`,
    };
    this.#settleOne();
  }

  answered(index: number, result: SendResult): void {
    this.#results[index] = result;
    this.#settleOne();
  }

  failed(_index: number, error: unknown): void {
    this.#error ??= { error };
    this.#settleOne();
  }

  #settleOne(): void {
    this.#open -= 1;
    if (this.#open > 0) return;
    if (this.#error === undefined) this.#resolve(this.#results);
    else this.#reject(this.#error.error);
  }
}

/** Calls back with one outcome. What the callback throws is not the producer's affair and reaches the process. */
export class CallbackCompletion implements Completion {
  readonly #topic: string;
  readonly #producer: number;
  readonly #onOutcome: (error: unknown, result: SendResult | undefined) => void;

  constructor(topic: string, producer: number, onOutcome: (error: unknown, result: SendResult | undefined) => void) {
    this.#topic = topic;
    this.#producer = producer;
    this.#onOutcome = onOutcome;
  }

  appended(_index: number, partition: number, offset: number, sequence: number): void {
    const result: SendResult = {
      status: "appended",
      topic: this.#topic,
      partition,
      offset,
      id: `${this.#producer}-${sequence}`,
    };
    this.answered(_index, result);
  }

  answered(_index: number, result: SendResult): void {
    queueMicrotask(() => this.#onOutcome(undefined, result));
  }

  failed(_index: number, error: unknown): void {
    queueMicrotask(() => this.#onOutcome(error, undefined));
  }
}
