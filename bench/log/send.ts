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

/** Eight partitions, as a topic has by default; keys are random, so every flush carries all of them. */
export const benchTopic = topic("bench", { schema: payloadSchema, key: (value) => value.account });

/** Opens what the benchmarks share. */
export async function openLogBench(server: BenchServer, floors: Floors, scale: number): Promise<LogBench> {
  const sluice = await connect({ url: server.url, topics: [benchTopic], logger: silentLogger });
  return { server, floors, sluice, scale };
}

/** One awaited caller, against single-row INSERTs. */
export async function sendOne(bench: LogBench): Promise<Result> {
  const count = rounded(4_000, bench);
  const { ours, floor } = await compare(
    5,
    () => sendAwaited(bench, 1, count),
    () => bench.floors.insert(1, count),
  );
  return result("send-1", ours, { name: "INSERT, 1 caller", ...floor }, ">= 0.85", (ratio) => ratio >= 0.85);
}

/** Sixteen awaited callers, against as many INSERTs. */
export async function sendSixteen(bench: LogBench): Promise<Result> {
  const count = rounded(32_000, bench);
  const { ours, floor } = await compare(
    5,
    () => sendAwaited(bench, 16, count),
    () => bench.floors.insert(16, count),
  );
  return result("send-16", ours, { name: "INSERT, 16 callers", ...floor }, ">= 2", (ratio) => ratio >= 2);
}

/** 256 awaited callers, against COPY. */
export async function sendMany(bench: LogBench): Promise<Result> {
  const count = rounded(200_000, bench);
  const { ours, floor } = await compare(
    5,
    () => sendAwaited(bench, 256, count),
    () => bench.floors.copy(count),
  );
  const goal = ">= 0.8, p99 < 5 ms";
  return result("send-256", ours, { name: "COPY", ...floor }, goal, (ratio) => ratio >= 0.8 && (ours.p99Ms ?? 0) < 5);
}

/** Four callers of 1,000 a call, against COPY of as many. */
export async function sendBatch(bench: LogBench): Promise<Result> {
  const count = rounded(400_000, bench);
  const wanted = bench.server.hasLz4 ? 2.2 : 1.7;
  const { ours, floor } = await compare(
    5,
    () => sendBatches(bench, count),
    () => bench.floors.copy(count),
  );
  return result("send-batch", ours, { name: "COPY", ...floor }, `>= ${wanted}`, (ratio) => ratio >= wanted);
}

async function sendAwaited({ sluice }: LogBench, callers: number, count: number): Promise<Measurement> {
  const values = payloads(count);
  return await measureCalls(callers, count, 1, (index) =>
    sluice.send(benchTopic, values[index] as (typeof values)[number]),
  );
}

async function sendBatches({ sluice }: LogBench, count: number): Promise<Measurement> {
  const batches = Array.from({ length: count / 1_000 }, () => payloads(1_000));
  return await measureCalls(4, batches.length, 1_000, (index) => sluice.sendBatch(benchTopic, batches[index] ?? []));
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
