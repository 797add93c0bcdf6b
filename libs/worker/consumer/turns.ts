import { setImmediate } from "node:timers";

/** What one turn may take, for all consumers of a process together. */
const turnMs = 5;

/**
 * The event loop's turns, which all consumers of a process share: while handlers that do not wait follow one another, nobody
 * serves the connections. Whoever has many messages to hand over waits for its turn ({@link begin}), asks after each whether
 * that {@link isOver}, and then waits for the {@link next}; each gets one in the order in which they asked, and between two of them the
 * loop looks after everything else. With a measure for each partition, eight of them kept an answer of the database waiting eight
 * times as long.
 */
class Turns {
  #endsAt = 0;
  readonly #waiting: (() => void)[] = [];

  /** Whether others are to come first. */
  get isOver(): boolean {
    return performance.now() > this.#endsAt;
  }

  /** Resolves when the asker may begin: at once, unless others wait. */
  async begin(): Promise<void> {
    if (!this.isOver) return;
    if (this.#waiting.length > 0) await this.next();
    else this.#endsAt = performance.now() + turnMs;
  }

  /** Resolves at the beginning of the asker's next turn. */
  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (this.#waiting.length === 1) setImmediate(() => this.#letBegin());
    });
  }

  #letBegin(): void {
    this.#endsAt = performance.now() + turnMs;
    this.#waiting.shift()?.();
    if (this.#waiting.length > 0) setImmediate(() => this.#letBegin());
  }
}

/** A process has one event loop. */
export const turns = new Turns();
