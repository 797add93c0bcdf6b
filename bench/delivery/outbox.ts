import type postgres from "postgres";
import { keyedTopic, type LogBench, result, rounded } from "../log/send.ts";
import { compare, type Measurement, measureCalls, type Result } from "../measure.ts";
import { type Payload, payloads } from "../payload.ts";

/** A transaction with a row of the business and a message, against one with the row and a second one of the message's size. */
export async function outbox(bench: LogBench): Promise<Result> {
  return await measureOutbox(bench, "outbox", 1, rounded(3_000, bench));
}

/** The same by sixteen callers at once. */
export async function outboxSixteen(bench: LogBench): Promise<Result> {
  return await measureOutbox(bench, "outbox-16", 16, rounded(16_000, bench));
}

/** Nobody relays meanwhile: what that costs is measured by itself. */
async function measureOutbox(bench: LogBench, name: string, callers: number, count: number): Promise<Result> {
  const { server, sluice } = bench;
  await server.sql`create table if not exists business_row (id text not null, account text not null)`;
  const transactions = async (second: (tx: postgres.TransactionSql, value: Payload) => Promise<unknown>) => {
    await server.sql`truncate business_row, floor_row, sluice.outbox`;
    const values = payloads(count);
    return await measureCalls(callers, count, 1, (index) =>
      server.sql.begin(async (tx) => {
        const value = values[index] as Payload;
        await tx`insert into business_row (id, account) values (${value.id}, ${value.account})`;
        await second(tx, value);
      }),
    );
  };
  const { ours, floor } = await compare(
    5,
    async (): Promise<Measurement> => {
      const measured = await transactions((tx, value) => sluice.send(keyedTopic, value, { tx }));
      const [row] = await server.sql<{ queued: number }[]>`select count(*)::integer as queued from sluice.outbox`;
      if (row?.queued !== count) throw new Error(`${row?.queued} of ${count} messages are in the outbox`);
      return measured;
    },
    () => transactions((tx, value) => tx`insert into floor_row (value) values (${tx.json({ ...value })})`),
  );
  await server.sql`truncate sluice.outbox`;
  const caller = callers === 1 ? "1 caller" : `${callers} callers`;
  return result(name, ours, { name: `INSERT, ${caller}`, ...floor }, ">= 0.8", (ratio) => ratio >= 0.8);
}
