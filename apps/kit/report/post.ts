import { atRate, type RateOptions, type Timed } from "./at-rate.ts";
import { percentile } from "./percentile.ts";

/**
 * Posts JSON at a fixed rate, whether or not the answers keep up, and resolves with every answer's status, in order.
 *
 * @param addressOf where the body of this index goes
 */
export function postAtRate(
  addressOf: (index: number) => string,
  bodies: readonly unknown[],
  rate: Omit<RateOptions, "count">,
): Promise<Timed<number>[]> {
  return atRate({ ...rate, count: bodies.length }, async (index) => {
    const headers = { "content-type": "application/json" };
    const response = await fetch(addressOf(index), { method: "POST", headers, body: JSON.stringify(bodies[index]) });
    // The answer is there when all of it is.
    await response.arrayBuffer();
    return response.status;
  });
}

/** Response times of one address, and how many answers were no 2xx. */
export interface Measurement {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly failed: number;
}

/** Posts to these addresses by turns, so that whatever else the machine does hits all of them alike; gives each one's times. */
export async function measureByTurns<Name extends string>(
  addresses: Readonly<Record<Name, string>>,
  bodies: readonly unknown[],
  rate: Omit<RateOptions, "count">,
): Promise<Readonly<Record<Name, Measurement>>> {
  const names = Object.keys(addresses) as Name[];
  const answers = await postAtRate((index) => addresses[names[index % names.length] as Name], bodies, rate);
  const measurements = names.map((name, turn): [Name, Measurement] => {
    const own = answers.filter((_, index) => index % names.length === turn);
    const timesMs = own.map((answer) => answer.tookMs);
    const failed = own.filter(({ result }) => result < 200 || result > 299).length;
    return [name, { count: own.length, p50Ms: percentile(timesMs, 0.5), p99Ms: percentile(timesMs, 0.99), failed }];
  });
  return Object.fromEntries(measurements) as Record<Name, Measurement>;
}
