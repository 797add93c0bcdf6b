import type {
  BegunRetry,
  CountOutcome,
  OwnedAttempt,
  OwnedOffset,
  OwnedPutOff,
  PutOffOutcome,
  Retries,
} from "@sluice/broker";
import { GatheredCalls } from "./gathered-calls.ts";

/** Messages of one statement, whose values may go along; and how often one is made. */
export const failureGathering = { limit: 200, everyMs: 20 };
/** The same for attempts that are counted: a message has its place meanwhile, and nobody else can use it. */
const countGathering = { limit: 200, everyMs: 2 };

/** What {@link Retries} does for many, asked for one by one: what comes while a statement is under way goes with the next. */
export class GatheredRetries {
  readonly retries: Retries;
  readonly puttingOff: GatheredCalls<OwnedPutOff, PutOffOutcome>;
  readonly counting: GatheredCalls<OwnedAttempt, CountOutcome>;
  readonly beginning: GatheredCalls<OwnedAttempt, BegunRetry | undefined | "fenced">;
  readonly ending: GatheredCalls<OwnedOffset, "over" | "fenced">;
  readonly dropping: GatheredCalls<OwnedOffset, "over" | "fenced">;

  constructor(retries: Retries) {
    this.retries = retries;
    this.puttingOff = new GatheredCalls(failureGathering, (entries) => retries.putOff(entries));
    this.counting = new GatheredCalls(countGathering, (entries) => retries.count(entries));
    this.beginning = new GatheredCalls(countGathering, (entries) => retries.begin(entries));
    this.ending = new GatheredCalls(failureGathering, (entries) => retries.end(entries));
    this.dropping = new GatheredCalls(failureGathering, (entries) => retries.drop(entries));
  }
}
