import { app, consumer, silentLogger, topic } from "sluice";
import { z } from "zod";
import { type LogBench, result, rounded } from "../log/send.ts";
import { compare, type Measurement, type Result } from "../measure.ts";
import { payloadSchema, payloads } from "../payload.ts";

const relayedTopic = topic("relayed", { schema: payloadSchema, key: (value) => value.account });
/** An app that has nothing to consume: it relays. */
const idleTopic = topic("relay-idle", { schema: z.string() });

const perTransaction = 10;
const writers = 4;
/** Messages that are moved in a transaction at most. */
const roundMessages = 2_000;

/**
 * How fast what was committed gets into the log: transactions of ten messages by four writers, moved by an app; against
 * DELETE … RETURNING into INSERT of as many rows at a time.
 */
export async function relay(bench: LogBench): Promise<Result> {
  const count = rounded(200_000, bench);
  const { sql } = bench.server;
  await bench.sluice.sendBatch(relayedTopic, payloads(1));
  await sql`create table if not exists moved_row (like sluice.outbox including defaults)`;
  const { ours, floor } = await compare(
    5,
    async () => {
      await fill(bench, count);
      return await relayAll(bench, count);
    },
    async () => {
      await fill(bench, count);
      return await moveAll(bench, count);
    },
  );
  return result("relay", ours, { name: "DELETE into INSERT", ...floor }, ">= 50,000/s", () => ours.rate >= 50_000);
}

/** Commits that nobody waits for: only what happens afterwards is measured. */
async function fill({ server }: LogBench, count: number): Promise<void> {
  await server.sql`truncate sluice.outbox, moved_row`;
  const transactions = Math.ceil(count / perTransaction / writers);
  await Promise.all(
    Array.from({ length: writers }, async (_, writer) => {
      const messages = payloads(perTransaction).map((value, index) => ({
        partition: (writer + index) % 8,
        key: value.account,
        value,
        attributes: null,
      }));
      await server.sql.unsafe(`do $do$ declare v_topic integer := (select topic from sluice.topic where name = 'relayed');
        begin
          set local synchronous_commit = off;
          for i in 1 .. ${transactions} loop
            perform sluice.outbox_insert(v_topic, $json$${JSON.stringify(messages)}$json$, false);
            commit;
            set local synchronous_commit = off;
          end loop;
        end $do$`);
    }),
  );
  await server.sql`vacuum analyze sluice.outbox`;
  await server.sql`checkpoint`;
}

async function relayAll({ server }: LogBench, count: number): Promise<Measurement> {
  const before = await endOf(server.sql);
  const idle = consumer(idleTopic, { group: "relay-idle", handler: () => undefined });
  const running = await app({ name: "relay", consumers: [idle] }).start({ url: server.url, logger: silentLogger });
  const began = performance.now();
  const already = (await endOf(server.sql)) - before;
  let moved = already;
  while (moved < count) {
    await new Promise<void>((resolve) => setTimeout(resolve, 10));
    moved = (await endOf(server.sql)) - before;
  }
  const rate = (moved - already) / ((performance.now() - began) / 1_000);
  await running.close();
  if (moved !== count) throw new Error(`${moved} of ${count} messages got into the log`);
  return { rate };
}

async function moveAll({ server }: LogBench, count: number): Promise<Measurement> {
  const began = performance.now();
  for (let moved = 0; moved < count; ) {
    const answer = await server.sql`
      with picked as materialized (select xid, outbox from sluice.outbox order by xid, outbox limit ${roundMessages}),
      gone as (delete from sluice.outbox o using picked p where o.xid = p.xid and o.outbox = p.outbox returning o.*)
      insert into moved_row overriding system value select * from gone order by xid, outbox`;
    if (answer.count === 0) throw new Error(`${moved} of ${count} rows were there to be moved`);
    moved += answer.count;
  }
  return { rate: count / ((performance.now() - began) / 1_000) };
}

async function endOf(sql: LogBench["server"]["sql"]): Promise<number> {
  const [row] = await sql<{ total: number }[]>`
    select coalesce(sum(end_offset), 0)::integer as total from sluice.partitions where topic = 'relayed'`;
  return row?.total ?? 0;
}
