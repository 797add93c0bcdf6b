import { runSideTask } from "@sluice/app-kit";
import { z } from "zod";

/** What the load generator does; bounded in count, rate and time. */
export const burstPlan = z.object({
  url: z.url(),
  sale: z.int(),
  /** What sessions are signed with. */
  key: z.string().min(32),
  /** In every buyer's name. */
  run: z.string().min(1).max(40),
  count: z.int().min(1).max(15_000),
  perSecond: z.int().min(1).max(5_000),
  /** After this long without an answer a buyer gives up. */
  patienceMs: z.int().min(1).max(30_000),
  /** For how long who is in line listens to the stream. */
  followMs: z.int().min(1).max(60_000),
});

const milliseconds = z
  .number()
  .nullable()
  .transform((value) => value ?? Number.NaN);
const burstFindings = z.object({
  /** The rate that was reached. */
  perSecond: z.number(),
  taken: z.int(),
  /** How many buyers those were. */
  buyersTaken: z.int(),
  refused: z.int(),
  /** Given up by the buyer, or cut off. */
  unanswered: z.int(),
  p50Ms: milliseconds,
  p99Ms: milliseconds,
  refusedP99Ms: milliseconds,
  /** How it ended for those in line, by what their streams said last. */
  ends: z.record(z.string(), z.int()),
});

/** What it found. */
export type BurstFindings = z.infer<typeof burstFindings>;

/** Runs it. Bun's fetch has 256 requests under way at most, unless told; more may be in line, and look at their streams. */
export async function burst(plan: z.infer<typeof burstPlan>, signal: AbortSignal): Promise<BurstFindings> {
  const main = new URL("./burst.ts", import.meta.url);
  const variables = { BUN_CONFIG_MAX_HTTP_REQUESTS: "1000" };
  return await runSideTask({ main, input: burstPlan.parse(plan), output: burstFindings, variables, signal });
}
