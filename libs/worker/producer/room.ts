import { type Clock, type Deferred, deferred, SluiceError } from "@sluice/kernel";

/** What may wait in memory, and for how long a send waits for room. */
export interface RoomOptions {
  readonly maxBufferedRecords: number;
  readonly maxBufferedCharacters: number;
  readonly maxBlockMs: number;
}

/** Counts the records that wait in memory, and lets sends wait while there is no room for more. */
export class Room {
  readonly #clock: Clock;
  readonly #options: RoomOptions;
  readonly #waiters: Deferred<void>[] = [];
  #records = 0;
  #characters = 0;
  #closed = false;

  constructor(clock: Clock, options: RoomOptions) {
    this.#clock = clock;
    this.#options = options;
  }

  get isFull(): boolean {
    const { maxBufferedRecords, maxBufferedCharacters } = this.#options;
    return this.#records >= maxBufferedRecords || this.#characters >= maxBufferedCharacters;
  }

  /** A record waits from now on. */
  take(characters: number): void {
    this.#records += 1;
    this.#characters += characters;
  }

  /** Records have left, appended or failed. */
  release(records: number, characters: number): void {
    this.#records -= records;
    this.#characters -= characters;
    while (this.#waiters.length > 0 && !this.isFull) this.#waiters.shift()?.resolve();
  }

  /** Resolves when there is room. Fails with BUFFER_FULL after the longest wait, and with CLOSED when there will be none. */
  async wait(): Promise<void> {
    while (this.isFull) {
      if (this.#closed) throw producerClosed();
      const waiter = deferred<void>();
      this.#waiters.push(waiter);
      const { maxBlockMs } = this.#options;
      const cancel = this.#clock.after(maxBlockMs, () => {
        const index = this.#waiters.indexOf(waiter);
        if (index >= 0) this.#waiters.splice(index, 1);
        waiter.reject(bufferFull("", `waited ${maxBlockMs} ms for room`));
      });
      try {
        await waiter.promise;
      } finally {
        cancel();
      }
    }
  }

  /** Nobody waits any more. */
  close(): void {
    this.#closed = true;
    for (const waiter of this.#waiters.splice(0)) waiter.resolve();
  }
}

/** What a send to a producer hears that is closed. */
export function producerClosed(): SluiceError {
  return new SluiceError("CLOSED", "the producer is closed; nothing was sent");
}

/** What a send hears that finds no room. */
export function bufferFull(topic: string, how: string): SluiceError {
  return new SluiceError(
    "BUFFER_FULL",
    `the producer's buffer is full and this send ${how}; nothing was sent${topic === "" ? "" : ` to topic ${topic}`}. The database is slower than the senders.`,
  );
}
