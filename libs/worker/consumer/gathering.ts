import { setImmediate } from "node:timers";
import type { Clock } from "@sluice/kernel";

/** What can be gathered. */
export interface Gathered {
  /** Roughly, of its value. */
  readonly characters: number;
}

/** Characters of values that are handed over together, at most; a batch that is heavier is smaller. */
const batchCharacters = 8 * 1_048_576;

/** Gathers what is to be handed over together: until there is enough of it, or until the first has waited long enough. */
export class Gathering<Item extends Gathered> {
  readonly #size: number;
  readonly #waitMs: number;
  #items: Item[] = [];
  #characters = 0;
  #dueAt = 0;

  constructor(size: number, waitMs: number) {
    this.#size = size;
    this.#waitMs = waitMs;
  }

  /** Adds one; gives all when there are enough. */
  add(item: Item): readonly Item[] | undefined {
    if (this.#items.length === 0) this.#dueAt = performance.now() + this.#waitMs;
    this.#items.push(item);
    this.#characters += item.characters;
    return this.#items.length >= this.#size || this.#characters >= batchCharacters ? this.take() : undefined;
  }

  /** How long what is there may still be gathered for; 0 when it is time, `undefined` when there is nothing. */
  get remainingMs(): number | undefined {
    return this.#items.length === 0 ? undefined : Math.max(0, Math.ceil(this.#dueAt - performance.now()));
  }

  /** Gives all that is there. */
  take(): readonly Item[] {
    const items = this.#items;
    this.#items = [];
    this.#characters = 0;
    return items;
  }
}

/** A {@link Gathering} that hands over by itself, for what comes from many sides. */
export class TimedGathering<Item extends Gathered> {
  readonly #gathering: Gathering<Item>;
  readonly #waitMs: number;
  readonly #clock: Clock;
  readonly #handOver: (items: readonly Item[]) => void;
  #cancel = () => {};
  #stopped = false;

  /** @param handOver begins what is to be done with them */
  constructor(size: number, waitMs: number, clock: Clock, handOver: (items: readonly Item[]) => void) {
    this.#gathering = new Gathering(size, waitMs);
    this.#waitMs = waitMs;
    this.#clock = clock;
    this.#handOver = handOver;
  }

  add(item: Item): void {
    const isFirst = this.#gathering.remainingMs === undefined;
    const enough = this.#gathering.add(item);
    if (enough !== undefined) this.#handOver(enough);
    else if (isFirst) this.#handOverIn(this.#waitMs);
  }

  /** Hands over nothing any more. */
  stop(): void {
    this.#stopped = true;
    this.#cancel();
  }

  #handOverIn(waitMs: number): void {
    this.#cancel();
    const handOver = () => {
      const { remainingMs } = this.#gathering;
      if (this.#stopped || remainingMs === undefined) return;
      if (remainingMs > 0) this.#handOverIn(remainingMs);
      else this.#handOver(this.#gathering.take());
    };
    if (waitMs > 0) this.#cancel = this.#clock.after(waitMs, handOver);
    // Not at once: the reader adds what it has in the same turn.
    else setImmediate(handOver);
  }
}
