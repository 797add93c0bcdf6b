import { systemClock } from "./clock.ts";

/** A promise with its resolvers beside it, for whoever completes it elsewhere. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T | PromiseLike<T>): void;
  reject(reason: unknown): void;
}

/** A fresh {@link Deferred}. */
export function deferred<T>(): Deferred<T> {
  return Promise.withResolvers<T>();
}

/**
 * A level that wakes one waiter: raised before anybody waits, it is not lost; raised many times, it wakes once.
 * This is what stands between a doorbell and a reader.
 */
export class Signal {
  #raised = false;
  #waiter: (() => void) | undefined;

  /** Wakes the waiter, or the next one to come. */
  raise(): void {
    this.#raised = true;
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.();
  }

  /** Resolves when raised, or after `timeoutMs`, whichever comes first; lowers the signal. One waiter at a time. */
  wait(timeoutMs: number): Promise<void> {
    if (this.#raised || timeoutMs <= 0) {
      this.#raised = false;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const cancel = systemClock.after(timeoutMs, () => this.raise());
      this.#waiter = () => {
        cancel();
        this.#raised = false;
        resolve();
      };
    });
  }
}
