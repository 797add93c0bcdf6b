import { isSluiceError, jsonLogger, type Logger, toError } from "@sluice/kernel";
import type { Middleware } from "./middleware.ts";

/** What {@link logging} may be told. */
export interface LoggingOptions {
  /** Default: JSON lines on standard error, from debug on. */
  readonly logger?: Logger;
}

/**
 * A middleware that writes one line per handing-over, at debug: topic, partition, offset, group, attempt, outcome
 * (`done`, `retry`, `reject`, `release`, `timeout` or `failed`) and durationMs. Never a payload. Nothing is built for a
 * logger that does not want debug.
 *
 * `done` is what the handler said: a transaction that cannot be committed afterwards is a failed attempt in the app's log.
 *
 * @example
 * app({ consumers: [welcome], use: [logging()] })
 */
export function logging({ logger = jsonLogger("debug") }: LoggingOptions = {}): Middleware {
  return async (c, next) => {
    if (!logger.isEnabled("debug")) {
      await next();
      return;
    }
    const begin = performance.now();
    const line = (outcome: string, error?: unknown) =>
      logger.log("debug", "a message was handed over", {
        topic: c.topic,
        partition: c.partition,
        offset: c.offset,
        group: c.group,
        attempt: c.attempt,
        outcome,
        durationMs: Math.round((performance.now() - begin) * 1_000) / 1_000,
        ...(error === undefined ? {} : { error: toError(error) }),
      });
    // A handler that never ends would leave no line: its time limit writes it.
    let isWritten = false;
    const onAbort = () => {
      if (!isSluiceError(c.signal.reason, "HANDLER_TIMEOUT")) return;
      isWritten = true;
      line("timeout");
    };
    c.signal.addEventListener("abort", onAbort);
    try {
      await next();
      if (!isWritten) line(c.verb ?? "done");
    } catch (error) {
      if (!isWritten) line(c.verb ?? "failed", error ?? "undefined was thrown");
      throw error;
    } finally {
      c.signal.removeEventListener("abort", onAbort);
    }
  };
}
