import { type Duration, type Problem, parseDurationMs } from "@sluice/kernel";

/** How fast a group may go: `{ messages: 100, per: "1s" }`. */
export interface RateLimit {
  /** Handings-over, 1 to 1,000,000; attempts after the first count, too. */
  readonly messages: number;
  /** From 1 ms to 1 day. */
  readonly per: Duration;
  /**
   * `"group"` (the default): all members together, whatever their number. `"key"`: each key by itself, except in mode ordered; a
   * key that has reached it waits, others go on. In mode broadcast, where each member gets all, it is each member's own.
   */
  readonly scope?: "group" | "key";
}

/** What is wrong with a rate limit of a consumer of this mode. */
export function rateLimitProblems(limit: RateLimit | undefined, mode: string): readonly Problem[] {
  if (limit === undefined) return [];
  const problems: Problem[] = [];
  if (!(Number.isInteger(limit.messages) && limit.messages >= 1 && limit.messages <= 1_000_000)) {
    problems.push({ path: "rateLimit.messages", message: "must be a whole number from 1 to 1,000,000" });
  }
  const perMs = parseDurationMs(limit.per);
  if (perMs === undefined || perMs < 1 || perMs > 86_400_000) {
    problems.push({ path: "rateLimit.per", message: 'must be a duration from 1 ms to 1 day, such as "1s"' });
  }
  if (limit.scope !== undefined && limit.scope !== "group" && limit.scope !== "key") {
    problems.push({ path: "rateLimit.scope", message: 'must be "group" or "key"' });
  }
  if (limit.scope === "key" && mode === "ordered") {
    problems.push({
      path: "rateLimit.scope",
      message: 'cannot be "key" in mode "ordered": a key that waits holds up the others',
    });
  }
  return problems;
}

/** The time from one message to the next, in milliseconds. */
export function rateLimitIntervalMs({ messages, per }: RateLimit): number {
  return (parseDurationMs(per) ?? 0) / messages;
}
