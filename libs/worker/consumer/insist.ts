import { type Clock, type Logger, toError } from "@sluice/kernel";
import { pause } from "./pause.ts";

const againMs = 500;

/**
 * Does what must be done until it is, or until the signal is aborted: `undefined` then. At least one try is made. For writes
 * that change nothing when they are repeated.
 */
export async function insist<Result>(
  what: string,
  context: { readonly clock: Clock; readonly logger: Logger; readonly signal: AbortSignal },
  write: () => Promise<Result>,
): Promise<Result | undefined> {
  do {
    try {
      return await write();
    } catch (error) {
      context.logger.log("warn", `${what} failed and is tried again`, { error: toError(error) });
      await pause(context.clock, againMs, context.signal);
    }
  } while (!context.signal.aborted);
  return undefined;
}
