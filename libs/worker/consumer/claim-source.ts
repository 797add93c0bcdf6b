import type { ClaimedMessages, TakenRetry } from "@sluice/broker";

/** Where a member of a shared group finds messages that are not in ranges, and when to look there next. */
export class ClaimSource {
  readonly #messages: ClaimedMessages;
  readonly #mostMs: number;
  readonly #isRung: boolean;
  /** When to look, by `performance.now()`. */
  #at = 0;

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
    this.#at = Math.min(this.#at, performance.now() + inMs);
  }

  /** Takes what is due in hand, `most` messages at most. Fails as a call to the database does; then it is to be looked for again. */
  async take(member: number, positions: readonly number[], most: number): Promise<readonly TakenRetry[]> {
    this.#at = Number.POSITIVE_INFINITY;
    try {
      const taken = await this.#messages.claim(member, positions, most);
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
