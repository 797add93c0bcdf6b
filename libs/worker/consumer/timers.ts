import type { Clock } from "@sluice/kernel";

/** What is to be done later, unless it ends before: a timer that is left would keep the process alive. */
export class Timers {
  readonly #clock: Clock;
  readonly #cancels = new Set<() => void>();
  #isOver = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  after(delayMs: number, work: () => void): void {
    if (this.#isOver) return;
    const cancel = this.#clock.after(delayMs, () => {
      this.#cancels.delete(cancel);
      work();
    });
    this.#cancels.add(cancel);
  }

  /** Nothing of it is done any more. */
  end(): void {
    this.#isOver = true;
    for (const cancel of this.#cancels) cancel();
    this.#cancels.clear();
  }
}
