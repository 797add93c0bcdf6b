/** What one side of a comparison did. */
export interface Measurement {
  /** Messages per second. */
  readonly rate: number;
  /** Of the time from a call to its answer; absent where calls are not awaited one by one. */
  readonly p50Ms?: number;
  readonly p99Ms?: number;
}

/** One comparison, a line of the report. */
export interface Result extends Measurement {
  readonly name: string;
  readonly floor: { readonly name: string; readonly rate: number; readonly p50Ms?: number; readonly p99Ms?: number };
  /** Ours divided by the floor's, of rates; for latencies the p50 of ours divided by the floor's. */
  readonly ratio: number;
  /** What the comparison is held to. */
  readonly goal: string;
  readonly held: boolean;
  readonly [extra: string]: unknown;
}

/** How long something takes that happens once in a while, a line of the report. */
export interface Spell {
  readonly name: string;
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly mostMs: number;
  /** What the 99th percentile is held to. */
  readonly goalMs: number;
  readonly held: boolean;
  /** What it depends on, and what others promise. */
  readonly note: string;
}

/** Calls `step` from `callers` callers, each awaiting its own, `count` times in all, and measures every call. */
export async function measureCalls(
  callers: number,
  count: number,
  messagesPerCall: number,
  step: (index: number) => Promise<unknown>,
): Promise<Measurement> {
  const latencies = new Float64Array(count);
  let next = 0;
  const began = performance.now();
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (next < count) {
        const index = next;
        next += 1;
        const from = performance.now();
        await step(index);
        latencies[index] = performance.now() - from;
      }
    }),
  );
  const seconds = (performance.now() - began) / 1_000;
  return { rate: (count * messagesPerCall) / seconds, ...percentiles(latencies) };
}

/** The median and the 99th percentile. */
export function percentiles(latenciesMs: Float64Array): { p50Ms: number; p99Ms: number } {
  const sorted = latenciesMs.slice().sort();
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
  return { p50Ms: at(0.5), p99Ms: at(0.99) };
}

/**
 * Both sides in turn, several rounds, so that what else the machine does hits both: the round whose ratio is the median. A
 * round is compared with itself, for a shared machine changes its pace between two of them.
 */
export async function compare(
  rounds: number,
  ours: () => Promise<Measurement>,
  floor: () => Promise<Measurement>,
): Promise<{ ours: Measurement; floor: Measurement }> {
  const pairs: { readonly ours: Measurement; readonly floor: Measurement }[] = [];
  for (let round = 0; round < rounds; round += 1) pairs.push({ floor: await floor(), ours: await ours() });
  pairs.sort((a, b) => a.ours.rate / a.floor.rate - b.ours.rate / b.floor.rate);
  return pairs[Math.floor(pairs.length / 2)] as (typeof pairs)[number];
}
