import type { ClaimedHalf, HalfMessages } from "@sluice/broker";
import type { CheckBack } from "@sluice/contract";
import { type Logger, Signal, toError } from "@sluice/kernel";
import { ask } from "./ask.ts";
import { isUrl } from "./check-back-address.ts";

/** Whom a process can ask, and how it does. */
export interface HalfCheckerOptions {
  readonly halves: HalfMessages;
  readonly checkBacks: ReadonlyMap<string, CheckBack>;
  /** Origins whose endpoints may be asked although no check-back names them. */
  readonly origins: readonly string[];
  readonly pollMs: number;
  readonly logger: Logger;
}

/** Half messages that are asked about side by side. */
const sideBySide = 16;
const askTimeoutMs = 10_000;
/** For how long one is this process's: longer than asking and writing the answer takes. */
const leaseMs = 30_000;

/**
 * Asks about half messages that nobody decided on in time, those whose check-back this process has. Every process that
 * has one does so: rows are handed out under a lease, so nobody has to be in charge, and what a process cannot ask about it
 * leaves to those that can.
 */
export class HalfChecker {
  readonly #options: HalfCheckerOptions;
  readonly #wake = new Signal();
  readonly #stopped = new AbortController();
  readonly #done: Promise<void>;

  constructor(options: HalfCheckerOptions) {
    this.#options = options;
    this.#done = this.#run();
  }

  /** Asks no more. Answers that have not come are not waited for; somebody asks again. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#wake.raise();
    await this.#done;
  }

  async #run(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      const asked = await this.#round();
      if (asked < sideBySide) await this.#wake.wait(this.#options.pollMs);
    }
  }

  async #round(): Promise<number> {
    const { halves, checkBacks, origins, logger } = this.#options;
    try {
      const claimed = await halves.claim({ names: [...checkBacks.keys()], origins, most: sideBySide, leaseMs });
      await Promise.all(claimed.map((half) => this.#check(half)));
      return claimed.length;
    } catch (error) {
      logger.log("warn", "asking about half messages failed and is tried again", { error: toError(error) });
      return 0;
    }
  }

  async #check(claimed: ClaimedHalf): Promise<void> {
    const { halves, logger } = this.#options;
    const checkBack = this.#checkBackOf(claimed);
    const fields = { half: claimed.half, topic: claimed.topic, checks: claimed.checks };
    if (checkBack === undefined) {
      logger.log("warn", "a half message was handed out whose check-back is not allowed here", fields);
      return;
    }
    const { half, preparedAtMs, value, checkBack: _, ...rest } = claimed;
    const info = { ...rest, id: half, preparedAt: preparedAtMs, value: JSON.parse(value) as unknown };
    const answer = await ask(checkBack, info, askTimeoutMs, this.#stopped.signal);
    if (answer.decision === "unknown") await halves.note(half, answer.why);
    else if (answer.decision === "commit") await halves.commit(half, "check-back");
    else await halves.rollback(half, "check-back");
    const error = answer.decision === "unknown" ? answer.error : undefined;
    logger.log("info", "asked about a half message", {
      ...fields,
      decision: answer.decision,
      ...(error === undefined ? {} : { error }),
    });
  }

  #checkBackOf({ checkBack }: ClaimedHalf): CheckBack | undefined {
    if (!isUrl(checkBack)) return this.#options.checkBacks.get(checkBack);
    return URL.canParse(checkBack) && this.#options.origins.includes(new URL(checkBack).origin) ? checkBack : undefined;
  }
}
