import { integer, pgTable, text } from "drizzle-orm/pg-core";
import { type AnyTopic, app, type Stage, silentLogger, stage, topic } from "sluice";
import { keyedTopic, type LogBench, result, rounded } from "../log/send.ts";
import { compare, type Measurement, measureCalls, type Result } from "../measure.ts";
import { payloadSchema, payloads } from "../payload.ts";

const stagedTopic = topic("staged", { schema: payloadSchema, key: (value) => value.account });
const stagedRows = pgTable("staged_row", { id: text().notNull(), partition: integer().notNull() });

/** Rows that one INSERT writes on the floor's side: as many as a stage handles together. */
const floorRows = 256;
let runs = 0;

/** Consume, write a row, produce, commit the position, with a row per message by `map`; against single-row INSERTs by one caller. */
export async function stageRowByRow(bench: LogBench): Promise<Result> {
  const count = rounded(40_000, bench);
  await prepare(bench, count);
  const { ours, floor } = await compare(
    3,
    () =>
      runStage(bench, count, (group) =>
        stage({
          from: keyedTopic,
          to: stagedTopic,
          group,
          map: async (c) => {
            await (await c.tx()).insert(stagedRows).values({ id: c.value.id, partition: c.partition });
            return c.value;
          },
        }),
      ),
    () => insertRows(bench, 1, Math.min(count, 4_000)),
  );
  return result("stage", ours, { name: "INSERT, 1 caller", ...floor }, ">= 2", (ratio) => ratio >= 2);
}

/** The same with one statement for the rows of a transaction, by `mapBatch`; against INSERTs of as many rows by one caller. */
export async function stageBatch(bench: LogBench): Promise<Result> {
  const count = rounded(200_000, bench);
  await prepare(bench, count);
  const { ours, floor } = await compare(
    3,
    () =>
      runStage(bench, count, (group) =>
        stage({
          from: keyedTopic,
          to: stagedTopic,
          group,
          mapBatch: async (inputs, tx) => {
            await tx.insert(stagedRows).values(inputs.map(({ value, partition }) => ({ id: value.id, partition })));
            return inputs.map(({ value }) => value);
          },
        }),
      ),
    () => insertRows(bench, floorRows, count),
  );
  const goal = ">= 20,000/s";
  return result("stage-batch", ours, { name: `INSERT of ${floorRows}`, ...floor }, goal, () => ours.rate >= 20_000);
}

/** Sends what is to be consumed; each run has a group of its own, which begins at the first message of all. */
async function prepare({ sluice, server }: LogBench, count: number): Promise<void> {
  await server.sql`create table if not exists staged_row (id text not null, partition integer not null)`;
  for (let sent = 0; sent < count; sent += 1_000)
    await sluice.sendBatch(keyedTopic, payloads(Math.min(1_000, count - sent)));
  await server.sql`vacuum analyze`;
}

async function runStage({ server }: LogBench, count: number, declare: (group: string) => Stage): Promise<Measurement> {
  runs += 1;
  const group = `stage-${runs}`;
  await server.sql`truncate staged_row`;
  const total = await endOf(server.sql, keyedTopic);
  const before = await endOf(server.sql, stagedTopic);
  const running = await app({ name: group, stages: [declare(group)] }).start({ url: server.url, logger: silentLogger });
  const began = performance.now();
  const already = await doneRows(server.sql);
  let done = already;
  while (done < total) {
    await new Promise<void>((resolve) => setTimeout(resolve, 20));
    done = await doneRows(server.sql);
  }
  const rate = (total - already) / ((performance.now() - began) / 1_000);
  await running.close();
  const made = (await endOf(server.sql, stagedTopic)) - before;
  if (done !== total || made !== total || total < count)
    throw new Error(`${done} rows and ${made} messages of ${total}`);
  return { rate };
}

async function endOf(sql: LogBench["server"]["sql"], { name }: AnyTopic): Promise<number> {
  const [row] = await sql<{ total: number }[]>`
    select coalesce(sum(end_offset), 0)::integer as total from sluice.partitions where topic = ${name}`;
  return row?.total ?? 0;
}

async function doneRows(sql: LogBench["server"]["sql"]): Promise<number> {
  const [row] = await sql<{ rows: number }[]>`select count(*)::integer as rows from staged_row`;
  return row?.rows ?? 0;
}

/** Rows of the same kind, `rows` a statement, each its own commit. */
async function insertRows({ server }: LogBench, rows: number, count: number): Promise<Measurement> {
  await server.sql`truncate staged_row`;
  const values = payloads(rows).map(({ id }) => ({ id, partition: 1 }));
  return await measureCalls(1, Math.ceil(count / rows), rows, async () => {
    await server.sql`insert into staged_row ${server.sql(values)}`;
  });
}
