import { join } from "node:path";
import { consumer, type RateLimit, topic } from "sluice";
import { z } from "zod";
import { type LogBench, rounded } from "../log/send.ts";
import type { Result } from "../measure.ts";

const perSecond = 100;
const members = 4;

const pacedTopic = topic("paced", { schema: z.number(), key: String, partitions: 8 });

/** What each member runs: it says of every message when it had it. */
export const pacedConsumer = (onMessage: () => void) => {
  const rateLimit: RateLimit = { messages: perSecond, per: "1s" };
  return consumer(pacedTopic, { group: "paced", mode: "keyed", rateLimit, handler: onMessage });
};

/** A limit of 100 a second over four processes, for 30 seconds. */
export async function pace(bench: LogBench): Promise<Result> {
  const seconds = Math.max(5, Math.round(30 * bench.scale));
  const count = rounded(perSecond * (seconds + 15), { ...bench, scale: 1 });
  await bench.sluice.sendBatch(
    pacedTopic,
    Array.from({ length: count }, (_, number) => number),
  );
  const children = Array.from({ length: members }, () =>
    Bun.spawn([process.execPath, join(import.meta.dirname, "pace-member.ts")], {
      env: { ...process.env, DATABASE_URL: bench.server.url, PACE_MS: String((seconds + 6) * 1_000) },
      stdout: "pipe",
      stderr: "inherit",
    }),
  );
  const outputs = await Promise.all(children.map((child) => new Response(child.stdout).text()));
  const times = outputs.flatMap((output) => JSON.parse(output) as number[]).sort((a, b) => a - b);
  // From when all four are at it.
  const from = (times[0] ?? 0) + 4_000;
  const handed = times.filter((at) => at >= from && at < from + seconds * 1_000).length;
  const rate = handed / seconds;
  const ratio = rate / perSecond;
  const held = Math.abs(ratio - 1) <= 0.01;
  return { name: "rate-limit", rate, floor: { name: "the limit", rate: perSecond }, ratio, goal: "within 1 %", held };
}
