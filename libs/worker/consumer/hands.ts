import { type Deferred, deferred } from "@sluice/kernel";

/** Counts what was begun and is neither over nor put off, and tells when that is nothing. */
export class Hands {
  #running = 0;
  /** Those of them that wait for their turn under the rate limit, in nobody's hands. */
  #takingTurns = 0;
  #idle: Deferred<void> | undefined;
  #free: Deferred<void> | undefined;

  get isRunning(): boolean {
    return this.#running > 0;
  }

  begin(count = 1): void {
    this.#running += count;
  }

  leave(): void {
    this.#running -= 1;
    if (this.#running > this.#takingTurns) return;
    this.#free?.resolve();
    this.#free = undefined;
    if (this.#running > 0) return;
    this.#idle?.resolve();
    this.#idle = undefined;
  }

  /** One that has begun waits for its turn from now on. */
  beginTurn(): void {
    this.#takingTurns += 1;
  }

  /** One that waited for its turn leaves, or begins anew. */
  leaveTurn(): void {
    this.#takingTurns -= 1;
    this.leave();
  }

  /** Resolves when nothing runs. */
  async idle(): Promise<void> {
    if (this.#running === 0) return;
    this.#idle ??= deferred<void>();
    await this.#idle.promise;
  }

  /** Resolves when nothing runs but what waits for its turn. */
  async free(): Promise<void> {
    while (this.#running > this.#takingTurns) {
      this.#free ??= deferred<void>();
      await this.#free.promise;
    }
  }
}
