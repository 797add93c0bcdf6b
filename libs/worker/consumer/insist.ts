import { type Clock, type Logger, toError } from "@sluice/kernel";
import { pause } from "./pause.ts";

/** What insisting needs. */
export interface InsistContext {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Aborted when it is no longer this process's business. */
  readonly signal: AbortSignal;
}

const againMs = 500;

/**
 * One loop for what must be done until it is: tries until the database has answered, or until the signal is aborted, and then it is
 * `"stopped"`. Nothing is begun after the abort. For reads, and for writes that change nothing when they are repeated.
 *
 * @param what what failed, as the log says it
 * @param names what it was about, for the log
 */
export async function insist<Result>(
  what: string,
  { clock, logger, signal }: InsistContext,
  call: () => Promise<Result>,
  names: Readonly<Record<string, unknown>> = {},
): Promise<Result | "stopped"> {
  while (!signal.aborted) {
    try {
      return await call();
    } catch (error) {
      // Whoever took it away has said so: an error that tells the same is no news.
      if (signal.aborted) break;
      logger.log("warn", `${what} failed and is tried again`, { ...names, error: toError(error) });
      await pause(clock, againMs, signal);
    }
  }
  return "stopped";
}
