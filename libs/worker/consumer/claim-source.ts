import type { ClaimedMessages, TakenRetry } from "@sluice/broker";

/** Between two looks at least, unless there was more than could be taken: what comes due meanwhile goes along. */
const restMs = 10;

/** Where a member of a shared group finds messages that are not in ranges, and when to look there next. */
export class ClaimSource {
  readonly #messages: ClaimedMessages;
  readonly #mostMs: number;
  readonly #isRung: boolean;
  /** When to look, by `performance.now()`. */
  #at = 0;
  #lookedAt = Number.NEGATIVE_INFINITY;

  /**
   * @param mostMs how long not to look at most, while something waits
   * @param isRung whether {@link ring} tells of everything that comes, so that nothing is looked for while nothing waits
   */
  constructor(messages: ClaimedMessages, mostMs: number, isRung: boolean) {
    this.#messages = messages;
    this.#mostMs = mostMs;
    this.#isRung = isRung;
  }

  get at(): number {
    return this.#at;
  }

  get messages(): ClaimedMessages {
    return this.#messages;
  }

  /** There is something, or will be by then. */
  ring(inMs = 0): void {
    this.#at = Math.min(this.#at, Math.max(performance.now() + inMs, this.#lookedAt + restMs));
  }

  /** Takes what is due in hand, `most` messages at most. Fails as a call to the database does; then it is to be looked for again. */
  async take(member: number, positions: readonly number[], most: number): Promise<readonly TakenRetry[]> {
    this.#at = Number.POSITIVE_INFINITY;
    this.#lookedAt = performance.now();
    try {
      const taken = await this.#messages.claim(member, positions, most);
      // There is more: at once.
      if (taken.length === most) this.#lookedAt = Number.NEGATIVE_INFINITY;
      const inMs = taken.length === most ? 0 : await this.#messages.nextInMs(positions);
      // A little later than the database says: its clock must have passed it.
      if (inMs !== undefined) this.ring(Math.min(this.#mostMs, Math.max(1, inMs + 1)));
      else if (!this.#isRung) this.ring(this.#mostMs);
      return taken;
    } catch (error) {
      this.ring();
      throw error;
    }
  }
}
