import postgres from "postgres";
import { type App, app, connect, consumer, type Sluice, silentLogger } from "sluice";
import { Floors } from "../floors.ts";
import type { Measurement, Result } from "../measure.ts";
import { payloads } from "../payload.ts";
import { openBenchServer } from "../server.ts";
import { benchTopic, type LogBench, result, rounded } from "./send.ts";

const callers = 64;
const sliceMs = 1_000;

/**
 * Sending and consuming for a minute while a transaction is held open, against the same without. Two embedded servers, whatever
 * DATABASE_URL says, because a transaction that has written holds every database of its server back; each in turn for a second,
 * because a minute and the next one differ by more than what is looked for.
 */
export async function heldTransaction(bench: LogBench): Promise<Result> {
  await using held = await openSide(bench);
  await using free = await openSide(bench);
  const release = await holdTransaction(held.url);
  const began = performance.now();
  const sums = { held: { sent: 0, ms: 0 }, free: { sent: 0, ms: 0 } };
  // Both have their second, so the transaction is open for twice as long as it is worked under.
  for (const seconds = Math.max(5, 60 * bench.scale); performance.now() - began < seconds * 2 * sliceMs; ) {
    for (const [side, sum] of [
      [free, sums.free],
      [held, sums.held],
    ] as const) {
      const slice = await side.work();
      sum.sent += slice.sent;
      sum.ms += slice.ms;
    }
  }
  await release();
  const rate = ({ sent, ms }: typeof sums.held): Measurement => ({ rate: sent / (ms / 1_000) });
  const floor = { name: "without", ...rate(sums.free) };
  return result("held-transaction", rate(sums.held), floor, ">= 0.95", (ratio) => ratio >= 0.95);
}

/** Opens a transaction that has written and whose snapshot keeps every dead row from being removed; gives what ends it. */
async function holdTransaction(url: string): Promise<() => Promise<void>> {
  const holder = postgres(url, { max: 1, onnotice: () => undefined });
  const release = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const holding = holder.begin("isolation level repeatable read", async (sql) => {
    await sql`insert into floor_row (value) values ('{}')`;
    held.resolve();
    await release.promise;
  });
  await Promise.race([held.promise, holding]);
  return async () => {
    release.resolve();
    await holding;
    await holder.end();
  };
}

interface Side extends AsyncDisposable {
  readonly url: string;
  /** Sends for a second, and waits until all of it has been consumed. */
  work(): Promise<{ readonly sent: number; readonly ms: number }>;
}

async function openSide(bench: LogBench): Promise<Side> {
  const server = await openBenchServer(undefined);
  await new Floors(server.sql).warmUp();
  const sluice: Sluice = await connect({ url: server.url, topics: [benchTopic], logger: silentLogger });
  let sent = 0;
  let seen = 0;
  let onSeen = () => {};
  const definition: App = app({
    name: "held",
    consumers: [
      consumer(benchTopic, {
        group: "held",
        handler: () => {
          seen += 1;
          onSeen();
        },
      }),
    ],
  });
  const running = await definition.start({ url: server.url, logger: silentLogger });
  const values = payloads(rounded(10_000, bench));
  return {
    url: server.url,
    async work() {
      const [before, began] = [sent, performance.now()];
      await Promise.all(
        Array.from({ length: callers }, async () => {
          while (performance.now() - began < sliceMs) {
            sent += 1;
            await sluice.send(benchTopic, values[sent % values.length] as (typeof values)[number]);
          }
        }),
      );
      await new Promise<void>((resolve) => {
        onSeen = () => {
          if (seen === sent) resolve();
        };
        onSeen();
      });
      return { sent: sent - before, ms: performance.now() - began };
    },
    async [Symbol.asyncDispose]() {
      await running.close();
      await sluice.close();
      await server[Symbol.asyncDispose]();
    },
  };
}
