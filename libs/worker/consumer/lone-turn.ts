import { type Deferred, deferred } from "@sluice/kernel";

/**
 * The turn of a message that was in hand when a process ended, and may be why. While it lasts the queue of its partition begins
 * nothing, so that no other is blamed if this process ends, too; the queue also sees to it that there is one such turn at a time.
 */
export class LoneTurn {
  readonly #queue: { hold(by: "alone"): void; letGo(by: "alone"): void };
  #over: Deferred<void> | undefined;

  constructor(queue: { hold(by: "alone"): void; letGo(by: "alone"): void }) {
    this.#queue = queue;
  }

  get isTaken(): boolean {
    return this.#over !== undefined;
  }

  take(): void {
    this.#over = deferred<void>();
    this.#queue.hold("alone");
  }

  /** The next one in the queue takes it at once, if that is to go alone, too. */
  end(): void {
    this.#over?.resolve();
    this.#over = undefined;
    this.#queue.letGo("alone");
  }

  /** Resolves when nobody has it. */
  async over(): Promise<void> {
    while (this.#over !== undefined) await this.#over.promise;
  }

  /** Asks when nobody has it, and again if somebody took it meanwhile. */
  async after<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
    for (;;) {
      await this.over();
      const answer = await ask();
      if (!this.isTaken) return answer;
    }
  }
}
