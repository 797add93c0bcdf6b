import type { RetryOptions, Verb } from "@sluice/contract";
import { type Duration, limits, parseDurationMs, SluiceError } from "@sluice/kernel";

/** What a handler decided by a verb; one of the outcomes of handing a message over. */
export type Decision =
  | { readonly kind: "failed"; readonly error: unknown; readonly delayMs?: number }
  | { readonly kind: "rejected"; readonly reason: string }
  | { readonly kind: "released"; readonly delayMs: number };

const verbs = { failed: "retry", rejected: "reject", released: "release" } as const;

/** The verb that a decision came from. */
export function verbOf(decision: Decision): Verb {
  return verbs[decision.kind];
}

/** What `c.retry` decides. Fails with INVALID_OPTIONS. */
export function retryDecision(options: Duration | RetryOptions | undefined): Decision {
  const { after, reason } = typeof options === "object" ? options : { after: options, reason: undefined };
  const error = new Error(reason === undefined ? "c.retry() was called" : `c.retry() was called: ${reason}`);
  return after === undefined
    ? { kind: "failed", error }
    : { kind: "failed", error, delayMs: putOffMs("c.retry()", after) };
}

/** What `c.reject` decides. Fails with INVALID_OPTIONS. */
export function rejectDecision(reason: string): Decision {
  if (typeof reason === "string" && reason.trim() !== "") return { kind: "rejected", reason };
  throw new SluiceError("INVALID_OPTIONS", "c.reject() needs a reason: a text that says why; nothing was decided");
}

/** What `c.release` decides. Fails with INVALID_OPTIONS. */
export function releaseDecision(after: Duration): Decision {
  return { kind: "released", delayMs: putOffMs("c.release()", after) };
}

/** The duration of `c.extend` in milliseconds. Fails with INVALID_OPTIONS. */
export function extensionMs(duration: Duration): number {
  return boundedMs("c.extend()", duration, limits.handlerMs, "1 hour");
}

function putOffMs(call: string, after: Duration): number {
  return boundedMs(call, after, limits.putOffMs, "7 days");
}

function boundedMs(call: string, duration: Duration, most: number, words: string): number {
  const ms = parseDurationMs(duration);
  if (ms !== undefined && ms <= most) return ms;
  throw new SluiceError("INVALID_OPTIONS", `${call} takes a duration of at most ${words}, such as "30s"`);
}
