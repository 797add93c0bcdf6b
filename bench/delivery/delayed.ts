import { type App, app, connect, consumer, type Sluice, silentLogger } from "sluice";
import { keyedTopic, type LogBench, result, rounded } from "../log/send.ts";
import { compare, type Measurement, measureCalls, type Result } from "../measure.ts";
import { payload, payloads } from "../payload.ts";
import { type BenchServer, openBenchServer } from "../server.ts";

/** Of one call of sluice.delayed_insert. */
const insertedTogether = 10_000;
const callers = 64;

/** Sending and consuming while a million delayed messages are pending, against the same without; two databases of one server. */
export async function delayed(bench: LogBench): Promise<Result> {
  const count = rounded(60_000, bench);
  const pending = rounded(1_000_000, bench);
  await using withPending = await openSide(bench, "_delayed");
  await using without = await openSide(bench, "_live");
  await delay(withPending.server, pending);
  const { ours, floor } = await compare(
    7,
    () => live(withPending, count),
    () => live(without, count),
  );
  const [row] = await withPending.server.sql<{ left: number }[]>`select count(*)::integer as left from sluice.delayed`;
  if (row?.left !== pending) throw new Error(`${row?.left} of ${pending} messages are still delayed`);
  return result("delayed", ours, { name: "none pending", ...floor }, ">= 0.95", (ratio) => ratio >= 0.95);
}

interface Side extends AsyncDisposable {
  readonly server: BenchServer;
  readonly sluice: Sluice;
  readonly app: App;
  seen: number;
  onSeen: (seen: number) => void;
}

async function openSide(bench: LogBench, suffix: string): Promise<Side> {
  const server = await openBenchServer(bench.server.url, suffix);
  const sluice = await connect({ url: server.url, topics: [keyedTopic], logger: silentLogger });
  const side: Side = {
    server,
    sluice,
    seen: 0,
    onSeen: () => undefined,
    app: app({
      name: "live",
      consumers: [
        consumer(keyedTopic, {
          group: "live",
          handler: () => {
            side.seen += 1;
            side.onSeen(side.seen);
          },
        }),
      ],
    }),
    async [Symbol.asyncDispose]() {
      await sluice.close();
      await server[Symbol.asyncDispose]();
    },
  };
  await sluice.sendBatch(keyedTopic, payloads(1_000));
  return side;
}

/** As the producers write them, many in one statement; due within the day that begins in an hour. */
async function delay({ sql }: BenchServer, count: number): Promise<void> {
  for (let made = 0; made < count; made += insertedTogether) {
    const together = Math.min(insertedTogether, count - made);
    const value = JSON.stringify(payload());
    await sql`select length(sluice.delayed_insert((select topic from sluice.topic where name = 'bench-keyed'), m.messages, null,
        ${3_600_000 + Math.floor((made / count) * 86_400_000)}::bigint, false))
      from (select json_agg(json_build_object('partition', n % 8, 'key', gen_random_uuid(), 'value', ${value}::text::json, 'attributes', null))
        as messages from generate_series(1, ${together}::integer) as n) m`;
  }
  await sql`vacuum analyze`;
  await sql`checkpoint`;
}

/** From the first send until the last one was handed over. */
async function live(side: Side, count: number): Promise<Measurement> {
  const running = await side.app.start({ url: side.server.url, logger: silentLogger });
  await until(side, await sent(side));
  const values = payloads(count);
  const wanted = side.seen + count;
  const began = performance.now();
  await measureCalls(callers, count, 1, (index) => side.sluice.send(keyedTopic, values[index] ?? payload()));
  await until(side, wanted);
  const rate = count / ((performance.now() - began) / 1_000);
  await running.close();
  return { rate };
}

async function until(side: Side, wanted: number): Promise<void> {
  if (side.seen >= wanted) return;
  const all = Promise.withResolvers<void>();
  side.onSeen = (seen) => {
    if (seen >= wanted) all.resolve();
  };
  await all.promise;
  side.onSeen = () => undefined;
}

async function sent({ server }: Side): Promise<number> {
  const [row] = await server.sql<{ total: number }[]>`
    select sum(end_offset)::integer as total from sluice.partitions where topic = 'bench-keyed'`;
  return row?.total ?? 0;
}
