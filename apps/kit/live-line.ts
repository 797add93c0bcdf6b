import type { Logger } from "sluice";

/**
 * Shows a line once a second. On a terminal it is rewritten in place; elsewhere it is printed when it has changed, so that
 * a log file does not fill up with the same words.
 *
 * @returns ends it and leaves the cursor at the beginning of a line
 */
export function showLiveLine(
  read: () => Promise<string>,
  logger: Logger,
  output: NodeJS.WriteStream = process.stdout,
): () => void {
  const rewrites = output.isTTY === true;
  let previous = "";
  let isBusy = false;
  const show = async () => {
    if (isBusy) return;
    isBusy = true;
    try {
      const whole = await read();
      // A longer line would wrap, and only its last part would be rewritten.
      const line = rewrites ? whole.slice(0, Math.max(20, (output.columns ?? 80) - 1)) : whole;
      if (line !== previous) output.write(rewrites ? `\r\u001b[2K${line}` : `${line}\n`);
      previous = line;
    } catch (error) {
      logger.log("warn", "the live line could not be read", { error });
    } finally {
      isBusy = false;
    }
  };
  const timer = setInterval(show, 1_000);
  return () => {
    clearInterval(timer);
    if (rewrites && previous !== "") output.write("\n");
  };
}
