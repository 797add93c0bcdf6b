import { isSluiceError, SluiceError, toError } from "@sluice/kernel";
import type { App, RunningApp } from "./app.ts";
import type { ConnectOptions } from "./connect.ts";

/**
 * Runs an app as this process's purpose: starts it, and drains it on SIGINT or SIGTERM. Resolves with the exit code: 0
 * after a clean drain, 75 when handlers had to be left behind, else that of the error, which is told in one line on
 * standard error. A second signal ends the process at once with 130.
 *
 * @example
 * process.exit(await run(app({ consumers: [welcomeEmail] })))
 */
export async function run(app: App, options: Omit<ConnectOptions, "topics"> = {}): Promise<number> {
  const stop = Promise.withResolvers<void>();
  let asked = false;
  const onSignal = () => {
    if (asked) process.exit(130);
    asked = true;
    stop.resolve();
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  try {
    const running: RunningApp = await app.start(options);
    const fenced = await Promise.race([stop.promise, running.fenced]);
    if (fenced !== undefined) {
      await running.close();
      throw fenced;
    }
    return (await running.close()) ? 0 : new SluiceError("DRAIN_TIMEOUT", "handlers did not finish in time").exitCode;
  } catch (error) {
    process.stderr.write(`${app.name}: ${errorLine(error)}\n`);
    return isSluiceError(error) ? error.exitCode : 70;
  } finally {
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
  }
}

/** An error as one line for people: what happened, and its code. */
export function errorLine(thrown: unknown): string {
  const error = toError(thrown);
  const text = error.message.replaceAll(/\s*\n\s*/g, "; ");
  return isSluiceError(error) ? `${text} [${error.code}]` : text;
}
