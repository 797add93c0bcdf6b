import type { DatabaseClock, DeadLetter, SharedLeases, SharedRetries } from "@sluice/broker";
import type { AnyConsumer } from "@sluice/contract";
import type { Clock, Logger } from "@sluice/kernel";
import type { TopicEntry } from "@sluice/log";
import type { Answers } from "./answers.ts";
import type { ClaimedRetry } from "./claimed-retry.ts";
import { Expiry } from "./expiry.ts";
import type { LeasedRange } from "./leased-range.ts";

/** What the expiry of a shared group's messages needs. */
export interface SharedExpiryContext {
  readonly consumer: AnyConsumer;
  readonly entry: TopicEntry;
  readonly group: number;
  readonly member: number;
  readonly leases: SharedLeases;
  readonly retries: SharedRetries;
  readonly databaseClock: DatabaseClock;
  readonly answers: Answers;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** Decides for a shared group whether messages may still be handed over; letters of those that may not are kept by their holder alone. */
export class SharedExpiry {
  readonly #context: SharedExpiryContext;

  constructor(context: SharedExpiryContext) {
    this.#context = context;
  }

  ofRange(range: LeasedRange): Expiry {
    return this.#expiry(range, (letter) => this.#buryOfRange(range, letter));
  }

  ofRetry(retry: ClaimedRetry): Expiry {
    return this.#expiry(retry, (letter) => retry.messages.bury(retry.claim, letter));
  }

  #expiry(owner: LeasedRange | ClaimedRetry, bury: (letter: DeadLetter) => Promise<void>): Expiry {
    const { partition, signal } = owner;
    return new Expiry({ ...this.#context, partition, signal, letters: { bury } });
  }

  async #buryOfRange(range: LeasedRange, letter: DeadLetter): Promise<void> {
    const { leases, retries, member } = this.#context;
    const { position, lease } = range;
    const { offset, key } = letter;
    const message = { position, lease, offset, attempt: 0, delayMs: 0, error: letter.error, key, mayBeDone: true };
    const { outcome, claim } = await leases.move(message, member);
    if (outcome === "fenced") range.lose();
    else if (outcome === "moved") await retries.bury({ position, offset, claim }, letter);
  }
}
