import { setTimeout as wait } from "node:timers/promises";

const pauseMs = 5;

/**
 * Asks until the answer is there: anything but `undefined` and `false`. For what only the database or another process
 * knows; what this process itself does is awaited instead.
 *
 * Fails after `deadlineMs` and says what was waited for; an error of `check` ends it at once.
 *
 * @example
 * await eventually("the group is at the end", async () => (await lag()) === 0)
 */
export async function eventually<Answer>(
  what: string,
  check: () => Answer | undefined | false | Promise<Answer | undefined | false>,
  deadlineMs = 20_000,
): Promise<Answer> {
  const endsAt = performance.now() + deadlineMs;
  for (;;) {
    const answer = await check();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() > endsAt) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await wait(pauseMs);
  }
}
