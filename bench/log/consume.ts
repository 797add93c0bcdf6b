import { app, consumer, silentLogger } from "sluice";
import { compare, type Measurement, type Result } from "../measure.ts";
import { payloads } from "../payload.ts";
import { keyedTopic, type LogBench, result, rounded } from "./send.ts";

/** The whole log, decoded and checked, against SELECT of as many rows by a cursor. */
export async function read(bench: LogBench): Promise<Result> {
  const count = rounded(400_000, bench);
  const before = await fill(bench, count);
  const { ours, floor } = await compare(
    5,
    () => readAll(bench, before, count),
    () => bench.floors.select(count),
  );
  return result("read", ours, { name: "SELECT by cursor", ...floor }, ">= 1.1", (ratio) => ratio >= 1.1);
}

/** A handler per message, positions committed, against SELECT by a cursor. Memory is what the process grew by at most. */
export async function consume(bench: LogBench): Promise<Result> {
  const count = rounded(400_000, bench);
  await fill(bench, count);
  let group = 0;
  let peakBytes = 0;
  const { ours, floor } = await compare(
    5,
    async () => {
      group += 1;
      const measured = await consumeAll(bench, `consume-${group}`, count);
      peakBytes = Math.max(peakBytes, measured.grownBytes);
      return measured;
    },
    () => bench.floors.select(count),
  );
  const line = result("consume", ours, { name: "SELECT by cursor", ...floor }, ">= 0.4", (ratio) => ratio >= 0.4);
  return { ...line, peakGrowthMiB: Math.round(peakBytes / 1_048_576) };
}

/** Empties both sides and fills them alike; gives the log's ends before. */
async function fill({ sluice, floors, server }: LogBench, count: number): Promise<readonly number[]> {
  const rows = await server.sql<{ end_offset: string }[]>`
    select end_offset from sluice.partitions where topic = 'bench-keyed' order by partition`;
  await floors.truncate();
  await floors.copy(count);
  for (let sent = 0; sent < count; sent += 10_000) {
    await Promise.all(
      Array.from({ length: Math.min(10, (count - sent) / 1_000) }, () => sluice.sendBatch(keyedTopic, payloads(1_000))),
    );
  }
  await server.sql`vacuum analyze`;
  return rows.map((row) => Number(row.end_offset));
}

async function readAll({ sluice }: LogBench, from: readonly number[], count: number): Promise<Measurement> {
  let seen = 0;
  const began = performance.now();
  for (const [partition, offset] of from.entries()) {
    for await (const records of sluice.read(keyedTopic, { partition, from: offset })) {
      for (const record of records) if (record.value.id !== "") seen += 1;
    }
  }
  if (seen !== count) throw new Error(`read ${seen} of ${count} messages`);
  return { rate: seen / ((performance.now() - began) / 1_000) };
}

async function consumeAll(
  bench: LogBench,
  group: string,
  count: number,
): Promise<Measurement & { grownBytes: number }> {
  const [total] = await bench.server.sql<{ end: string }[]>`
    select sum(end_offset) as end from sluice.partitions where topic = 'bench-keyed'`;
  const wanted = Number(total?.end);
  const done = Promise.withResolvers<void>();
  let seen = 0;
  const before = process.memoryUsage.rss();
  let peak = before;
  const watch = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss());
  }, 20);
  const definition = app({
    name: group,
    consumers: [
      consumer(keyedTopic, {
        group,
        handler: (c) => {
          if (c.value.id !== "") seen += 1;
          if (seen === wanted) done.resolve();
        },
      }),
    ],
  });
  const running = await definition.start({ url: bench.server.url, logger: silentLogger });
  const began = performance.now();
  const already = seen;
  await done.promise;
  const rate = (wanted - already) / ((performance.now() - began) / 1_000);
  clearInterval(watch);
  await running.close();
  if (wanted < count) throw new Error(`only ${wanted} messages to consume`);
  return { rate, grownBytes: peak - before };
}
