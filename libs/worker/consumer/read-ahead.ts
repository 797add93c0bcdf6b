/** Characters of values that may wait in memory per partition, beside the consumer's `prefetch`. */
const prefetchCharacters = 8 * 1_048_576;
/** Messages of one partition that may wait to be handed over again; with more, nothing new is handed over. */
const waitingMessages = 50_000;

/** How much of a partition may be in memory at a time, and whether that much is. */
export class ReadAhead {
  readonly #prefetch: number;
  readonly #putOff: { readonly count: number };
  readonly #onRoom: () => void;
  #buffered = 0;
  #characters = 0;
  #isWanted = false;

  /** @param onRoom there may be room again after it was full */
  constructor(prefetch: number, putOff: { readonly count: number }, onRoom: () => void) {
    this.#prefetch = prefetch;
    this.#putOff = putOff;
    this.#onRoom = onRoom;
  }

  take(characters: number): void {
    this.#buffered += 1;
    this.#characters += characters;
  }

  leave(characters: number): void {
    this.#buffered -= 1;
    this.#characters -= characters;
  }

  /** Whether nothing more may be added; `onRoom` tells of the end. */
  get isFull(): boolean {
    this.#isWanted =
      this.#buffered >= this.#prefetch ||
      this.#characters >= prefetchCharacters ||
      this.#putOff.count >= waitingMessages;
    return this.#isWanted;
  }

  /** Lets the reader go on, in steps and not for every single record, but always when nothing runs. */
  offer(isRunning: boolean): void {
    if (!this.#isWanted || this.isFull) return;
    if (!isRunning || this.#buffered <= this.#prefetch - (this.#prefetch >> 3)) this.#onRoom();
    else this.#isWanted = true;
  }
}
