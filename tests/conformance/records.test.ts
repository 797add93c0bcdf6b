import assert from "node:assert/strict";
import { test } from "node:test";
import { app, type ConsumedRecord, consumer, topic } from "sluice";
import { z } from "zod";
import { count, Inbox, world } from "./harness.ts";

const orders = topic("orders", {
  schema: z.object({ order: z.string(), cents: z.number() }),
  key: (order) => order.order,
  partitions: 4,
});

type Order = { order: string; cents: number };

function collecting(inbox: Inbox<ConsumedRecord<Order>>) {
  return consumer(orders, {
    group: "collecting",
    handler: ({ topic, partition, offset, key, value, headers, tag, timestamp, id }) =>
      inbox.add({ topic, partition, offset, key, value, headers, tag, timestamp, id }),
  });
}

test("[K1] a record has key, value, headers and timestamp, for the handler and in SQL", async () => {
  await using here = await world();
  const inbox = new Inbox<ConsumedRecord<Order>>();
  await using running = await here.start(app({ consumers: [collecting(inbox)] }));
  const timestamp = Date.UTC(2001, 1, 3, 4, 5, 6, 7);
  const headers = { traceparent: "00-1", "content-language": "Ü ✓" };
  const sent = await running.sluice.send(orders, { order: "o-1", cents: 990 }, { headers, timestamp });
  const [record] = await inbox.until(1);
  assert.deepEqual(record, {
    topic: "orders",
    partition: sent.partition,
    offset: 0,
    key: "o-1",
    value: { order: "o-1", cents: 990 },
    headers,
    tag: null,
    timestamp,
    id: sent.id,
  });
  const [row] = await here.sql`
    select partition, "offset"::int, key, value, headers, timestamp, id from topics.orders`;
  assert.deepEqual(
    { ...row },
    {
      partition: sent.partition,
      offset: 0,
      key: "o-1",
      value: { order: "o-1", cents: 990 },
      headers,
      timestamp: new Date(timestamp),
      id: sent.id,
    },
  );
});

test("[K1] without a timestamp of the sender's, a record has the database's clock at the append", async () => {
  await using here = await world();
  const inbox = new Inbox<ConsumedRecord<Order>>();
  await using running = await here.start(app({ consumers: [collecting(inbox)] }));
  const clock = async () => {
    const [row] = await here.sql<{ now: Date }[]>`select clock_timestamp() as now`;
    return row?.now.getTime() ?? Number.NaN;
  };
  const before = await clock();
  await running.sluice.send(orders, { order: "o-1", cents: 1 });
  const [record] = await inbox.until(1);
  const after = await clock();
  assert.ok(record !== undefined && record.timestamp >= before && record.timestamp <= after);
  assert.deepEqual(record.headers, {});
});

test("[K1] offsets begin at 0 in every partition, are dense, and never change", async () => {
  await using here = await world();
  await using first = await here.connect();
  await using second = await here.connect();
  const results = await Promise.all(
    count(300).map((number) =>
      (number % 2 === 0 ? first : second).send(orders, { order: `o-${number}`, cents: number }),
    ),
  );
  for (const partition of count(4)) {
    const offsets = results.filter((result) => result.partition === partition).map((result) => result.offset ?? -1);
    assert.deepEqual(
      offsets.sort((left, right) => left - right),
      count(offsets.length),
    );
  }
  const rows = await here.sql<{ partition: number; offset: number; id: string }[]>`
    select partition, "offset"::int, id from topics.orders`;
  const place = ({ partition, offset, id }: { partition: number; offset: number | null; id: string }) =>
    `${partition}/${offset} ${id}`;
  assert.deepEqual(rows.map(place).sort(), results.map(place).sort());
  assert.equal(rows.length, 300);
});

test("[K1] offsets are 64 bits wide where they are kept", async () => {
  await using here = await world();
  await using sluice = await here.connect({ topics: [orders] });
  const [column] = await here.sql`
    select data_type from information_schema.columns
    where table_schema = 'topics' and table_name = 'orders' and column_name = 'offset'`;
  assert.equal(column?.["data_type"], "bigint");
  void sluice;
});
