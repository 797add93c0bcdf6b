import type { Logger } from "sluice";
import { lagByGroup } from "./lag.ts";
import type { Service } from "./service.ts";

/**
 * Shows once a second what flows. On a terminal the line is rewritten in place; elsewhere a line is printed when
 * something has changed, so that a log file does not fill up with the same words.
 *
 * @returns ends it and leaves the cursor at the beginning of a line
 */
export function showLiveLine(
  service: Service,
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
      const line = await liveLine(service);
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

async function liveLine(service: Service): Promise<string> {
  const { signups, email, sms, refused } = service.activity;
  const lag = [...(await lagByGroup(service.database))].map(([group, count]) => `${group} ${count}`).join(", ");
  const refusals = refused === 0 ? "" : ` · refused ${refused}`;
  return `sign-ups ${signups} · mails ${email} · text messages ${sms}${refusals} · lag: ${lag === "" ? "none" : lag}`;
}
