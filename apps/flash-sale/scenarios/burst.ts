// The load generator, a process of its own. Everybody orders, at the rate, whatever the answers do; then who is in line is
// followed to the end. Every tenth click is a double click, and every fifth buyer does not pay.
import { atRate, pause, percentile, readEvents, sideTaskInput, sideTaskOutput } from "@sluice/app-kit";
import { z } from "zod";
import { Sessions } from "../page/session.ts";
import { type BurstFindings, burstPlan } from "./burst-plan.ts";

const plan = await sideTaskInput(burstPlan);
const sessions = new Sessions(plan.key);
const standing = z.object({ state: z.string() });
const ends = new Map<string, string>();
const following: Promise<void>[] = [];
const body = JSON.stringify({ quantity: 1 });

/** The status of the answer; 0 when there was none in time, which for a buyer is the same as one that was cut off. */
async function post(path: string, buyer: string, patienceMs: number): Promise<number> {
  const headers = { "content-type": "application/json", cookie: sessions.cookieOf(buyer) };
  const signal = AbortSignal.timeout(patienceMs);
  const answer = fetch(`${plan.url}${path}?sale=${plan.sale}`, { method: "POST", headers, body, signal });
  const whole = answer.then(async (response) => [response.status, await response.arrayBuffer()] as const);
  return (await whole.catch(() => [0] as const))[0];
}

/** Reads a buyer's stream until it says how it ended. */
async function follow(buyer: string, pays: boolean): Promise<void> {
  const signal = AbortSignal.timeout(plan.followMs);
  const headers = { cookie: sessions.cookieOf(buyer) };
  for (;;) {
    const response = await fetch(`${plan.url}/orders/mine/events?sale=${plan.sale}`, { headers, signal });
    for await (const event of readEvents(response)) {
      const { state } = standing.parse(event);
      if (state === "reserved" && pays) await post("/orders/mine/pay", buyer, plan.followMs);
      if (state !== "paid" && state !== "returned" && state !== "sold-out") continue;
      ends.set(buyer, state);
      return;
    }
    // Cut off, or too many were looking: a browser comes back, too.
    await pause(500, signal);
  }
}

const numberOf = (index: number) => (index % 10 === 9 ? index - 1 : index);
const nameOf = (index: number) => `${plan.run}-${numberOf(index)}`;
const startedAt = performance.now();
let lastAskedMs = 1;
const answers = await atRate(plan, async (index) => {
  lastAskedMs = performance.now() - startedAt;
  const buyer = nameOf(index);
  const status = await post("/orders", buyer, plan.patienceMs);
  if (status === 202 && !ends.has(buyer)) {
    ends.set(buyer, "never heard");
    following.push(follow(buyer, numberOf(index) % 5 !== 2).catch(() => undefined));
  }
  return { status, buyer };
});
await Promise.all(following);

const own = (...among: number[]) => answers.filter(({ result }) => among.includes(result.status));
const times = (list: typeof answers) => list.map(({ tookMs }) => tookMs);
const counts: Record<string, number> = {};
for (const end of ends.values()) counts[end] = (counts[end] ?? 0) + 1;
const findings: BurstFindings = {
  perSecond: ((plan.count - 1) * 1_000) / lastAskedMs,
  taken: own(200, 202).length,
  buyersTaken: new Set(own(200, 202).map(({ result }) => result.buyer)).size,
  refused: own(409).length,
  unanswered: own(0).length,
  p50Ms: percentile(times(answers), 0.5),
  p99Ms: percentile(times(answers), 0.99),
  refusedP99Ms: percentile(times(own(409)), 0.99),
  ends: counts,
};
sideTaskOutput(findings);
