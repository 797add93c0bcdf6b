import type { AnyConsumer } from "@sluice/contract";
import { type LogFields, type Logger, type LogLevel, toError } from "@sluice/kernel";
import { errorText, storableText } from "./dead-letter.ts";
import type { Outcome } from "./delivery.ts";

/** What became of a handing-over after which its message is not done. */
export type Failure = Exclude<Outcome, { kind: "done" | "fenced" }>;

/**
 * What is to be done about it: hand it over again (`counts`: this time was an attempt), keep a dead letter, go on without the
 * message, or stop handing over.
 */
export type Measure =
  | { readonly kind: "again"; readonly delayMs: number; readonly counts: boolean }
  | { readonly kind: "bury"; readonly reason: "exhausted" | "rejected" | "schema" }
  | { readonly kind: "drop"; readonly reason: "exhausted" | "rejected" | "schema" }
  | { readonly kind: "pause" };

/** Where it happened, and whom to tell. */
export interface FailurePlace {
  readonly consumer: AnyConsumer;
  readonly partition: number;
  readonly offset: number;
  /** How often the message was handed over, this time included. */
  readonly attempt: number;
  readonly logger: Logger;
}

/** Decides about a failure as the consumer declared it, and logs that. */
export function measureOf(failure: Failure, place: FailurePlace): Measure {
  const { consumer, attempt } = place;
  if (failure.kind === "released") {
    const { delayMs } = failure;
    tell(place, failure, "debug", "a message is handed over again, and this time does not count", { delayMs });
    return { kind: "again", delayMs, counts: false };
  }
  if (failure.kind === "rejected") {
    tell(place, failure, "info", "a handler rejected its message");
    return { kind: consumer.onExhausted === "drop" ? "drop" : "bury", reason: "rejected" };
  }
  if (failure.kind === "failed" && attempt < consumer.attempts) {
    const delayMs = failure.delayMs ?? Math.ceil(consumer.backoff.delayMs(attempt, Math.random()));
    tell(place, failure, "info", "a handler failed; its message is tried again", { delayMs });
    return { kind: "again", delayMs, counts: true };
  }
  const reason = failure.kind === "misfit" ? "schema" : "exhausted";
  tell(place, failure, "warn", `a message was given up: ${consumer.onExhausted}`, { reason });
  if (consumer.onExhausted === "pause") return { kind: "pause" };
  return { kind: consumer.onExhausted === "drop" ? "drop" : "bury", reason };
}

/** Nothing is put together for a line that nobody reads: an error's stack alone takes longer than handling a message. */
function tell(
  { consumer, partition, offset, attempt, logger }: FailurePlace,
  failure: Failure,
  level: LogLevel,
  message: string,
  more: LogFields = {},
): void {
  if (!logger.isEnabled(level)) return;
  logger.log(level, message, {
    topic: consumer.topic.name,
    group: consumer.group,
    partition,
    offset,
    attempt,
    ...("error" in failure ? { error: toError(failure.error) } : {}),
    ...more,
  });
}

/** What is kept of why. */
export function failureText(failure: Failure): string {
  if (failure.kind === "rejected") return storableText(failure.reason);
  return failure.kind === "released" ? "c.release() was called" : errorText(failure.error);
}
