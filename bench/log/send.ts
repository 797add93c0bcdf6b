import { connect, type Sluice, silentLogger, topic } from "sluice";
import type { Floors } from "../floors.ts";
import { compare, type Measurement, measureCalls, type Result } from "../measure.ts";
import { payloadSchema, payloads } from "../payload.ts";
import type { BenchServer } from "../server.ts";

/** What the benchmarks of the log share. */
export interface LogBench {
  readonly server: BenchServer;
  readonly floors: Floors;
  readonly sluice: Sluice;
  /** Shrinks every count, for a quick look: 1 is the full measure. */
  readonly scale: number;
}

/**
 * Eight partitions, as a topic has by default, and messages without a key, as those of the floors and of Kafka's own producer
 * benchmark are: they stay together in one partition for a while.
 */
export const benchTopic = topic("bench", { schema: payloadSchema });

/** The same with a random key each: every flush is spread over all eight partitions, a batch and a lock for each. */
export const keyedTopic = topic("bench-keyed", { schema: payloadSchema, key: (value) => value.account });

const rounds = 9;

/** Opens what the benchmarks share. */
export async function openLogBench(server: BenchServer, floors: Floors, scale: number): Promise<LogBench> {
  const sluice = await connect({ url: server.url, topics: [benchTopic, keyedTopic], logger: silentLogger });
  return { server, floors, sluice, scale };
}

/** One awaited caller, against single-row INSERTs. (A lone message has one partition, keyed or not.) */
export async function sendOne(bench: LogBench): Promise<Result> {
  const count = rounded(4_000, bench);
  const { ours, floor } = await compare(
    rounds,
    () => sendAwaited(bench, benchTopic, 1, count),
    () => bench.floors.insert(1, count),
  );
  return result("send-1", ours, { name: "INSERT, 1 caller", ...floor }, ">= 0.85", (ratio) => ratio >= 0.85);
}

/** Sixteen awaited callers, against as many INSERTs. */
export async function sendSixteen(bench: LogBench, wanted = 2, to = benchTopic, name = "send-16"): Promise<Result> {
  const count = rounded(32_000, bench);
  const { ours, floor } = await compare(
    rounds,
    () => sendAwaited(bench, to, 16, count),
    () => bench.floors.insert(16, count),
  );
  return result(name, ours, { name: "INSERT, 16 callers", ...floor }, `>= ${wanted}`, (ratio) => ratio >= wanted);
}

/** 256 awaited callers, against COPY. */
export async function sendMany(bench: LogBench, wanted = 0.8, to = benchTopic, name = "send-256"): Promise<Result> {
  const count = rounded(150_000, bench);
  const { ours, floor } = await compare(
    rounds,
    () => sendAwaited(bench, to, 256, count),
    () => bench.floors.copy(count),
  );
  const holds = (ratio: number) => ratio >= wanted && (ours.p99Ms ?? 0) < 5;
  return result(name, ours, { name: "COPY", ...floor }, `>= ${wanted}, p99 < 5 ms`, holds);
}

/** Four callers of 1,000 a call, against COPY of as many. */
export async function sendBatch(bench: LogBench, to = benchTopic, name = "send-batch"): Promise<Result> {
  const count = rounded(300_000, bench);
  const wanted = bench.server.hasLz4 ? 2.2 : 1.7;
  const { ours, floor } = await compare(
    rounds,
    () => sendBatches(bench, to, count),
    () => bench.floors.copy(count),
  );
  return result(name, ours, { name: "COPY", ...floor }, `>= ${wanted}`, (ratio) => ratio >= wanted);
}

/** The same sends with keys. Their goals are lower ones of their own, because a batch and a lock for each partition have their price. */
export const keyedSends: Readonly<Record<string, (bench: LogBench) => Promise<Result>>> = {
  "send-16-keyed": (bench) => sendSixteen(bench, 1.4, keyedTopic, "send-16-keyed"),
  "send-256-keyed": (bench) => sendMany(bench, 0.6, keyedTopic, "send-256-keyed"),
  "send-batch-keyed": (bench) => sendBatch(bench, keyedTopic, "send-batch-keyed"),
};

async function sendAwaited(
  { sluice }: LogBench,
  to: typeof benchTopic,
  callers: number,
  count: number,
): Promise<Measurement> {
  const values = payloads(count);
  return await measureCalls(callers, count, 1, (index) => sluice.send(to, values[index] as (typeof values)[number]));
}

async function sendBatches({ sluice }: LogBench, to: typeof benchTopic, count: number): Promise<Measurement> {
  const batches = Array.from({ length: count / 1_000 }, () => payloads(1_000));
  return await measureCalls(4, batches.length, 1_000, (index) => sluice.sendBatch(to, batches[index] ?? []));
}

/** A count at the bench's scale, in thousands. */
export function rounded(count: number, { scale }: LogBench): number {
  return Math.max(1_000, Math.round((count * scale) / 1_000) * 1_000);
}

/** A line of the report whose ratio is that of the rates. */
export function result(
  name: string,
  ours: Measurement,
  floor: Result["floor"],
  goal: string,
  holds: (ratio: number) => boolean,
): Result {
  const ratio = ours.rate / floor.rate;
  return { name, ...ours, floor, ratio, goal, held: holds(ratio) };
}
