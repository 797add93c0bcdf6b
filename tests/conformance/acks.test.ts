import assert from "node:assert/strict";
import { test } from "node:test";
import { topic } from "sluice";
import { z } from "zod";
import { count, eventually, world } from "./harness.ts";

const events = topic("events", { schema: z.object({ number: z.number() }), partitions: 2 });

test("[K3] acks 0 answers before anything is durable, 1 and all with the offset", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  const buffered = await sluice.send(events, { number: 0 }, { acks: 0, partition: 1 });
  assert.deepEqual(buffered, { status: "buffered", topic: "events", partition: 1, offset: null, id: "" });
  await sluice.flush();
  const local = await sluice.send(events, { number: 1 }, { acks: 1, partition: 1 });
  const all = await sluice.send(events, { number: 2 }, { acks: "all", partition: 1 });
  assert.deepEqual([local.status, local.offset], ["appended", 1]);
  assert.deepEqual([all.status, all.offset], ["appended", 2]);
  const rows = await here.sql`select (value->>'number')::int as number from topics.events order by "offset"`;
  assert.deepEqual(
    rows.map((row) => row["number"]),
    [0, 1, 2],
  );
});

test("[K3] a batch with acks 0 is buffered, each of it, and arrives", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  const results = await sluice.sendBatch(
    events,
    count(5).map((number) => ({ number })),
    { acks: 0 },
  );
  assert.deepEqual([...new Set(results.map((result) => result.status))], ["buffered"]);
  await eventually("five messages are in the log", async () => {
    const [row] = await here.sql`select count(*)::int as messages from topics.events`;
    return row?.["messages"] === 5 ? true : undefined;
  });
});

test("[K3] sluice.partitions shows log start, end and high watermark", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  await sluice.sendBatch(
    events,
    count(7).map((number) => ({ number })),
    { partition: 1 },
  );
  const rows = await here.sql`
    select topic, partition, start_offset::int, end_offset::int, high_watermark::int, messages::int
    from sluice.partitions order by partition`;
  assert.deepEqual(
    rows.map((row) => ({ ...row })),
    [
      { topic: "events", partition: 0, start_offset: 0, end_offset: 0, high_watermark: 0, messages: 0 },
      { topic: "events", partition: 1, start_offset: 0, end_offset: 7, high_watermark: 7, messages: 7 },
    ],
  );
});
