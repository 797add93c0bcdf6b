import { app, consumer, fixed, silentLogger } from "sluice";
import { keyedTopic, type LogBench, result, rounded } from "../log/send.ts";
import { compare, type Measurement, type Result } from "../measure.ts";
import { payloads } from "../payload.ts";

/**
 * One message in a hundred fails at first and is tried again a tenth of a second later, while the others go on: what both cost those that
 * do not fail. A longer backoff would leave most of the retries to the time after the clock has stopped.
 */
export async function failing(bench: LogBench): Promise<Result> {
  const count = rounded(600_000, bench);
  const { sluice, server } = bench;
  await server.sql`truncate floor_row`;
  for (let sent = 0; sent < count; sent += 10_000) {
    await Promise.all(Array.from({ length: 10 }, () => sluice.sendBatch(keyedTopic, payloads(1_000))));
  }
  await server.sql`vacuum analyze`;
  let round = 0;
  const consumeWith = (failEvery: number) => {
    round += 1;
    return consumeAll(bench, `failing-${process.pid}-${round}`, failEvery);
  };
  const { ours, floor } = await compare(
    3,
    () => consumeWith(100),
    () => consumeWith(0),
  );
  return result("failing-1-percent", ours, { name: "none fails", ...floor }, ">= 0.9", (ratio) => ratio >= 0.9);
}

/** Until every message that does not fail at first has been handled; the others follow after their backoff. */
async function consumeAll({ server }: LogBench, group: string, failEvery: number): Promise<Measurement> {
  const [total] = await server.sql<{ end: string }[]>`
    select sum(end_offset) as end from sluice.partitions where topic = 'bench-keyed'`;
  const wanted = Number(total?.end);
  const done = Promise.withResolvers<void>();
  let [first, again] = [0, 0];
  const definition = app({
    name: group,
    consumers: [
      consumer(keyedTopic, {
        group,
        mode: "keyed",
        retry: { attempts: 5, backoff: fixed("100ms") },
        handler: (c) => {
          if (c.attempt > 1) {
            again += 1;
            return;
          }
          first += 1;
          if (first === wanted) done.resolve();
          if (failEvery > 0 && c.offset % failEvery === 0) throw new Error("at first");
        },
      }),
    ],
  });
  const running = await definition.start({ url: server.url, logger: silentLogger });
  const began = performance.now();
  await done.promise;
  const rate = wanted / ((performance.now() - began) / 1_000);
  await running.close();
  if (failEvery > 0 && again === 0 && wanted / rate > 0.5) throw new Error("nothing was tried again");
  return { rate };
}
