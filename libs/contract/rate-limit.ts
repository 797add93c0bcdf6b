import { type Duration, type Problem, parseDurationMs } from "@sluice/kernel";

/** How fast a group may go: `{ messages: 100, per: "1s" }`. */
export interface RateLimit {
  /** Handings-over, 1 to 1,000,000; attempts after the first count, too. */
  readonly messages: number;
  /** From 1 ms to 1 day. */
  readonly per: Duration;
  /**
   * `"group"` (the default): all members together, whatever their number. `"key"`: each key by itself, in mode keyed; a
   * key that has reached it waits, others go on.
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
  if (limit.scope === "key" && mode !== "keyed") {
    problems.push({ path: "rateLimit.scope", message: 'can be "key" in mode "keyed" only' });
  }
  return problems;
}

/** The time from one message to the next, in milliseconds. */
export function rateLimitIntervalMs({ messages, per }: RateLimit): number {
  return (parseDurationMs(per) ?? 0) / messages;
}
