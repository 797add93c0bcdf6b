import assert from "node:assert/strict";
import { test } from "node:test";
import { isSluiceError, type SendResult, topic } from "sluice";
import { z } from "zod";
import { count, Inbox, recordingLogger, world } from "./harness.ts";

const clicks = topic("clicks", { schema: z.object({ number: z.number() }), partitions: 4 });
const views = topic("views", { schema: z.object({ page: z.string() }), key: (view) => view.page, partitions: 2 });

test("[K2] [R1] an awaited send tells status, id, topic, partition and offset", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  const result = await sluice.send(clicks, { number: 1 }, { partition: 2 });
  assert.deepEqual(result, { status: "appended", topic: "clicks", partition: 2, offset: 0, id: result.id });
  assert.match(result.id, /^\d+-\d+$/);
  const [row] = await here.sql`select id, partition, "offset"::int from topics.clicks`;
  assert.deepEqual({ ...row }, { id: result.id, partition: 2, offset: 0 });
});

test("[R1] every send writes a log line with its key at debug", async () => {
  await using here = await world();
  const logger = recordingLogger();
  await using sluice = await here.connect({ logger });
  const result = await sluice.send(views, { page: "/home" });
  const sent = logger.lines.filter((line) => line.message === "sent");
  assert.deepEqual(sent, [
    {
      level: "debug",
      message: "sent",
      fields: { topic: "views", partition: result.partition, offset: 0, key: "/home", id: result.id },
    },
  ]);
  await here.sql.begin((tx) => sluice.send(views, { page: "/queued" }, { tx }));
  const queued = logger.lines.find((line) => line.message === "queued in a transaction");
  assert.equal(queued?.fields["key"], "/queued");
});

test("[K2] post with a callback hears the outcome", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  const outcomes = new Inbox<{ error: unknown; result: SendResult | undefined }>();
  sluice.post(clicks, { number: 1 }, { partition: 1 }, (error, result) => outcomes.add({ error, result }));
  const [outcome] = await outcomes.until(1);
  assert.equal(outcome?.error, undefined);
  assert.equal(outcome?.result?.status, "appended");
  assert.equal(outcome?.result?.partition, 1);
  assert.equal(outcome?.result?.offset, 0);
});

test("[K2] post without a callback is one-way, and flush waits for it", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  for (const number of count(100)) sluice.post(clicks, { number });
  await sluice.flush();
  const [row] = await here.sql`select count(*)::int as messages from topics.clicks`;
  assert.equal(row?.["messages"], 100);
});

test("[K2] close settles what was sent, then refuses", async () => {
  await using here = await world();
  const sluice = await here.connect({ topics: [clicks] });
  const results = count(100).map((number) => sluice.send(clicks, { number }));
  for (const number of count(100)) sluice.post(clicks, { number });
  await sluice.close();
  assert.equal((await Promise.all(results)).length, 100);
  const [row] = await here.sql`select count(*)::int as messages from topics.clicks`;
  assert.equal(row?.["messages"], 200);
  await assert.rejects(sluice.send(clicks, { number: 0 }), (error) => isSluiceError(error, "CLOSED"));
  assert.throws(
    () => sluice.post(clicks, { number: 0 }),
    (error) => isSluiceError(error, "CLOSED"),
  );
});

test("[K2] concurrent sends share batches, and a batch tells a result for each of its messages", async () => {
  await using here = await world();
  await using sluice = await here.connect({ topics: [clicks] });
  const [topicRow] = await here.sql`select number from sluice.topics where name = 'clicks'`;
  const table = here.sql(`sluice_log.topic_${topicRow?.["number"]}`);
  await Promise.all(count(500).map((number) => sluice.send(clicks, { number }, { partition: 0 })));
  const [batches] = await here.sql`select count(*)::int as batches, sum(count)::int as messages from ${table}`;
  assert.equal(batches?.["messages"], 500);
  assert.ok(Number(batches?.["batches"]) <= 25, `${batches?.["batches"]} batches for 500 concurrent sends`);
  const results = await sluice.sendBatch(
    clicks,
    count(10).map((number) => ({ number })),
    { partition: 3 },
  );
  assert.deepEqual(
    results.map(({ status, partition, offset }) => ({ status, partition, offset })),
    count(10).map((offset) => ({ status: "appended", partition: 3, offset })),
  );
  assert.deepEqual(await sluice.sendBatch(clicks, []), []);
});

test("[K2] several topics from one producer", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  await Promise.all(
    count(50).flatMap((number): Promise<SendResult>[] => [
      sluice.send(clicks, { number }),
      sluice.send(views, { page: `/${number}` }),
    ]),
  );
  const [row] = await here.sql`
    select (select count(*) from topics.clicks)::int as clicks, (select count(*) from topics.views)::int as views`;
  assert.deepEqual({ ...row }, { clicks: 50, views: 50 });
});

test("[K2] topics are made only where that is allowed", async () => {
  await using here = await world();
  await using careful = await here.connect({ createTopics: false });
  await assert.rejects(careful.send(clicks, { number: 1 }), (error) => isSluiceError(error, "UNKNOWN_TOPIC"));
  await assert.rejects(here.connect({ createTopics: false, topics: [clicks] }), (error) =>
    isSluiceError(error, "UNKNOWN_TOPIC"),
  );
  assert.deepEqual([...(await here.sql`select name from sluice.topics`)], []);
  await using generous = await here.connect();
  await generous.send(clicks, { number: 1 });
  const result = await careful.send(clicks, { number: 2 }, { partition: 0 });
  assert.equal(result.status, "appended");
});

test("[K2] [K4] connections that are cut while sending cost no message and double none", async () => {
  await using here = await world();
  await using sluice = await here.connect({ name: "cut", topics: [clicks] });
  const sending = (async () => {
    const results: SendResult[] = [];
    for (const round of count(20)) {
      results.push(
        ...(await Promise.all(count(20).map((number) => sluice.send(clicks, { number: round * 20 + number })))),
      );
    }
    return results;
  })();
  const cut = await here.sql`
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name = 'cut'`;
  assert.ok(cut.length > 0, "there was a connection to cut");
  const results = await sending;
  assert.equal(new Set(results.map((result) => result.id)).size, 400);
  const rows = await here.sql`select (value->>'number')::int as number, id from topics.clicks order by 1`;
  assert.deepEqual(
    rows.map((row) => row["number"]),
    count(400),
  );
  assert.deepEqual(rows.map((row) => row["id"]).sort(), results.map((result) => result.id).sort());
});

test("[K4] an id names one message for ever, across producers", async () => {
  await using here = await world();
  const producers = [await here.connect(), await here.connect(), await here.connect()];
  try {
    const results = await Promise.all(
      count(300).map((number) => (producers[number % 3] as (typeof producers)[number]).send(clicks, { number })),
    );
    assert.equal(new Set(results.map((result) => result.id)).size, 300);
  } finally {
    for (const producer of producers) await producer.close();
  }
});
