import postgres from "postgres";
import { app, consumer, silentLogger } from "sluice";
import { type Measurement, percentiles, type Result } from "../measure.ts";
import { type Payload, payload } from "../payload.ts";
import { benchTopic, type LogBench } from "./send.ts";

/** Send to handler at 100 messages a second, against INSERT and NOTIFY in one transaction to a listener; in turn, five rounds. */
export async function latency(bench: LogBench): Promise<Result> {
  const count = Math.max(100, Math.round(400 * bench.scale));
  const arrivals = new Map<string, () => void>();
  const definition = app({
    name: "latency",
    consumers: [
      consumer(benchTopic, {
        group: `latency-${process.pid}`,
        start: "latest",
        handler: (c) => arrivals.get(c.value.id)?.(),
      }),
    ],
  });
  const running = await definition.start({ url: bench.server.url, logger: silentLogger });
  const sql = postgres(bench.server.url, { max: 1, onnotice: () => undefined });
  await sql.listen("floor", (id) => arrivals.get(id)?.());
  const ours: Measurement[] = [];
  const floors: Measurement[] = [];
  for (let round = 0; round < 5; round += 1) {
    floors.push(
      await paced(count, arrivals, async (value) => {
        await sql`with sent as (insert into floor_row (value) values (${JSON.stringify(value)}::text::jsonb))
          select pg_notify('floor', ${value.id})`;
      }),
    );
    ours.push(await paced(count, arrivals, async (value) => await bench.sluice.send(benchTopic, value)));
  }
  await sql.end();
  await running.close();
  const [our, floor] = [medianByP50(ours), medianByP50(floors)];
  const ratio = (our.p50Ms ?? 0) / (floor.p50Ms ?? 1);
  return {
    name: "latency",
    ...our,
    floor: { name: "INSERT + NOTIFY", ...floor },
    ratio,
    goal: "p50 <= 1.5 x floor, p99 <= 4 ms",
    held: ratio <= 1.5 && (our.p99Ms ?? 99) <= 4,
  };
}

function medianByP50(rounds: readonly Measurement[]): Measurement {
  const sorted = [...rounds].sort((a, b) => (a.p50Ms ?? 0) - (b.p50Ms ?? 0));
  return sorted[Math.floor(sorted.length / 2)] as Measurement;
}

/** Sends one every 10 ms, whether or not the one before has arrived; each is measured until it arrives. */
async function paced(
  count: number,
  arrivals: Map<string, () => void>,
  send: (value: Payload) => Promise<unknown>,
): Promise<Measurement> {
  const latencies = new Float64Array(count);
  const steps: Promise<void>[] = [];
  const began = performance.now();
  for (let index = 0; index < count; index += 1) {
    const wait = began + index * 10 - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    const value = payload();
    const from = performance.now();
    const arrived = new Promise<void>((resolve) => arrivals.set(value.id, resolve));
    steps.push(
      Promise.all([send(value), arrived]).then(() => {
        latencies[index] = performance.now() - from;
        arrivals.delete(value.id);
      }),
    );
  }
  await Promise.all(steps);
  return { rate: count / ((performance.now() - began) / 1_000), ...percentiles(latencies) };
}
