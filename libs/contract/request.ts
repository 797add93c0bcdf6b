import { type Duration, limits } from "@sluice/kernel";
import type { Headers, RecordOptions } from "./record.ts";

/** What one request may say beside its value. */
export interface RequestOptions extends RecordOptions {
  /**
   * How long to wait for the answer, from the call on; at most an hour, default `"30s"`. It is the message's time to live, too,
   * unless `timeToLive` says otherwise.
   */
  readonly timeout?: Duration;
  /** Stops waiting: the request rejects with the signal's reason. Its message may still be handled. */
  readonly signal?: AbortSignal;
}

/** That a message asks for an answer, and where that goes. */
export interface Asked {
  /** The header `reply-to`: who asked, 1 to 50 letters, digits, `.`, `_` or `-`. */
  readonly inbox: string;
  /** The header `correlation-id`: which question it is, 1 to 128 bytes. */
  readonly correlation: string;
  /** The header `reply-within-ms`: how long whoever asked was going to wait. */
  readonly withinMs: number;
}

/** How long an answer is kept for a message that does not say how long it waits. */
const defaultWithinMs = 30_000;

/** The headers of a message that asks for an answer. */
export function askingHeaders({ inbox, correlation, withinMs }: Asked): Headers {
  return { "reply-to": inbox, "correlation-id": correlation, "reply-within-ms": String(withinMs) };
}

/** Their names: who requests must not set them. */
export const askingHeaderNames = Object.keys(askingHeaders({ inbox: "", correlation: "", withinMs: 0 }));

/** What a message's headers ask for; `undefined` when they ask for nothing, or name no inbox and no question that there can be. */
export function askedBy(headers: Headers): Asked | undefined {
  const { "reply-to": inbox, "correlation-id": correlation, "reply-within-ms": within = "" } = headers;
  if (inbox === undefined || correlation === undefined) return undefined;
  const bytes = new TextEncoder().encode(correlation).length;
  if (!/^[A-Za-z0-9._-]{1,50}$/.test(inbox) || bytes < 1 || bytes > limits.correlationBytes) return undefined;
  const withinMs = /^[0-9]{1,10}$/.test(within) ? Number(within) : defaultWithinMs;
  return { inbox, correlation, withinMs: Math.min(Math.max(withinMs, 1), limits.requestMs) };
}
