import { app, consumer, silentLogger } from "sluice";
import { keyedTopic, type LogBench, result, rounded } from "../log/send.ts";
import { compare, type Measurement, type Result } from "../measure.ts";
import { payloads } from "../payload.ts";

/** A shared group of one member: leased, handed over, acknowledged one by one, against SELECT by a cursor. */
export async function shared(bench: LogBench): Promise<Result> {
  const count = rounded(400_000, bench);
  await fill(bench, count);
  let group = 0;
  // What other benchmarks sent before is there, too.
  const [sent] = await bench.server.sql<{ total: number }[]>`
    select sum(end_offset)::integer as total from sluice.partitions where topic = 'bench-keyed'`;
  const { ours, floor } = await compare(
    5,
    async () => {
      group += 1;
      return await shareAll(bench, `shared-${group}`, sent?.total ?? count);
    },
    () => bench.floors.select(count),
  );
  return result("shared", ours, { name: "SELECT by cursor", ...floor }, ">= 150,000/s", () => ours.rate >= 150_000);
}

/** Fills both sides alike. */
async function fill({ sluice, floors, server }: LogBench, count: number): Promise<void> {
  await floors.truncate();
  await floors.copy(count);
  for (let sent = 0; sent < count; sent += 10_000) {
    await Promise.all(
      Array.from({ length: Math.min(10, (count - sent) / 1_000) }, () => sluice.sendBatch(keyedTopic, payloads(1_000))),
    );
  }
  await server.sql`vacuum analyze`;
}

async function shareAll(bench: LogBench, group: string, count: number): Promise<Measurement> {
  const done = Promise.withResolvers<void>();
  let seen = 0;
  const definition = app({
    name: group,
    consumers: [
      consumer(keyedTopic, {
        group,
        mode: "shared",
        handler: (c) => {
          if (c.value.id !== "") seen += 1;
          if (seen === count) done.resolve();
        },
      }),
    ],
  });
  const began = performance.now();
  const running = await definition.start({ url: bench.server.url, logger: silentLogger });
  await done.promise;
  // With the acknowledgements: closing writes the last of them.
  await running.close();
  const rate = count / ((performance.now() - began) / 1_000);
  const [row] = await bench.server.sql<{ lag: number }[]>`
    select sum(lag)::integer as lag from sluice.lag where "group" = ${group}`;
  if (row?.lag !== 0) throw new Error(`${row?.lag} messages were not acknowledged`);
  return { rate };
}
