import { type Clock, SluiceError } from "@sluice/kernel";

/** What may wait in memory, and for how long a send waits for room. */
export interface RoomOptions {
  readonly maxBufferedRecords: number;
  readonly maxBufferedCharacters: number;
  readonly maxBlockMs: number;
}

/** A send that waits for room. */
interface Waiter {
  readonly take: () => void;
  readonly refuse: (error: SluiceError) => void;
}

/** Counts the records that wait in memory, and lets sends wait while there is no room for more: who came first is let in first, and at once. */
export class Room {
  readonly #clock: Clock;
  readonly #options: RoomOptions;
  readonly #waiters: Waiter[] = [];
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
    // Each takes before the next one is looked at, and before anybody hears of what has left: nobody comes in between.
    while (!this.isFull) {
      const waiter = this.#waiters.shift();
      if (waiter === undefined) return;
      waiter.take();
    }
  }

  /**
   * Calls `take` when there is room, and gives what comes of it. Fails with BUFFER_FULL after the longest wait, and with CLOSED when
   * nobody may wait any more.
   */
  enter<Result>(take: () => Promise<Result>): Promise<Result> {
    if (!this.isFull) return take();
    if (this.#closed) return Promise.reject(producerClosed());
    return new Promise<Result>((resolve, reject) => {
      const { maxBlockMs } = this.#options;
      const refuse = (error: unknown) => {
        cancel();
        reject(error);
      };
      const waiter: Waiter = {
        take: () => {
          cancel();
          try {
            resolve(take());
          } catch (error) {
            reject(error);
          }
        },
        refuse,
      };
      const cancel = this.#clock.after(maxBlockMs, () => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        refuse(bufferFull("", `waited ${maxBlockMs} ms for room`));
      });
      this.#waiters.push(waiter);
    });
  }

  /** Nobody waits any more. */
  close(): void {
    this.#closed = true;
    for (const waiter of this.#waiters.splice(0)) waiter.refuse(producerClosed());
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
