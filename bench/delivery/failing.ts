import { setTimeout as wait } from "node:timers/promises";
import { app, consumer, fixed, type HandlerContext, silentLogger } from "sluice";
import { keyedTopic, type LogBench, result, rounded } from "../log/send.ts";
import { compare, type Measurement, percentiles, type Result } from "../measure.ts";
import { payloads } from "../payload.ts";

/** How a consumer is whose messages fail. */
interface Kind {
  readonly mode: "keyed" | "shared";
  /** How long its handler waits for each message, as one does that asks a database. 0: not at all. */
  readonly waitMs: number;
  readonly count: number;
}

/**
 * One message in a hundred fails at first and is tried again a tenth of a second later, while the others go on: what both cost those that
 * do not fail. A longer backoff would leave most of the retries to the time after the clock has stopped.
 */
export function failing(bench: LogBench): Promise<Result> {
  return compareFailing(bench, "failing-1-percent", { mode: "keyed", waitMs: 0, count: rounded(600_000, bench) });
}

/** The same where a handler takes some time, as most do. */
export function failingWaiting(bench: LogBench): Promise<Result> {
  return compareFailing(bench, "failing-waiting", { mode: "keyed", waitMs: 1, count: rounded(200_000, bench) });
}

/** The same in a shared group. */
export function failingShared(bench: LogBench): Promise<Result> {
  return compareFailing(bench, "failing-shared", { mode: "shared", waitMs: 0, count: rounded(400_000, bench) });
}

const rounds = 5;
const backoffMs = 100;

async function compareFailing(bench: LogBench, name: string, kind: Kind): Promise<Result> {
  const { sluice, server } = bench;
  await server.sql`truncate floor_row`;
  for (let sent = 0; sent < kind.count; sent += 10_000) {
    await Promise.all(Array.from({ length: 10 }, () => sluice.sendBatch(keyedTopic, payloads(1_000))));
  }
  await server.sql`vacuum analyze`;
  let round = 0;
  const lateMs: number[] = [];
  const consumeWith = (failEvery: number) => {
    round += 1;
    return consumeAll(bench, `${name}-${process.pid}-${round}`, kind, failEvery, lateMs);
  };
  const { ours, floor } = await compare(
    rounds,
    () => consumeWith(100),
    () => consumeWith(0),
  );
  const { p50Ms, p99Ms } = percentiles(new Float64Array(lateMs));
  const compared = result(name, ours, { name: "none fails", ...floor }, ">= 0.9", (ratio) => ratio >= 0.9);
  return { ...compared, retriesLateP50Ms: p50Ms, retriesLateP99Ms: p99Ms };
}

/** Until every message has been handed over for the first time; then the others follow, and how late they were is noted. */
async function consumeAll(
  { server }: LogBench,
  group: string,
  { mode, waitMs, count }: Kind,
  failEvery: number,
  lateMs: number[],
): Promise<Measurement> {
  const [total] = await server.sql<{ end: string }[]>`
    select sum(end_offset) as end from sluice.partitions where topic = 'bench-keyed'`;
  const wanted = Math.min(count, Number(total?.end));
  const [done, doneAgain] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const dueAt = new Map<string, number>();
  let first = 0;
  const handle = (c: HandlerContext<unknown>) => {
    const name = `${c.partition} ${c.offset}`;
    if (c.attempt > 1) {
      lateMs.push(performance.now() - (dueAt.get(name) ?? Number.NaN));
      dueAt.delete(name);
      if (dueAt.size === 0 && first >= wanted) doneAgain.resolve();
      return;
    }
    first += 1;
    if (first === wanted) done.resolve();
    if (failEvery === 0 || c.offset % failEvery !== 0) return;
    dueAt.set(name, performance.now() + backoffMs);
    throw new Error("at first");
  };
  const definition = app({
    name: group,
    consumers: [
      consumer(keyedTopic, {
        group,
        mode,
        retry: { attempts: 5, backoff: fixed(backoffMs) },
        handler: waitMs === 0 ? handle : (c) => wait(waitMs).then(() => handle(c)),
      }),
    ],
  });
  const running = await definition.start({ url: server.url, logger: silentLogger });
  const began = performance.now();
  await done.promise;
  const rate = wanted / ((performance.now() - began) / 1_000);
  if (dueAt.size > 0) await doneAgain.promise;
  await running.close();
  return { rate };
}
