import assert from "node:assert/strict";
import { test } from "node:test";
import { app, consumer, fixed, idempotent, isSluiceError, topic } from "sluice";
import { z } from "zod";
import { caughtUp, count, eventually, Inbox, thrownBy, world } from "./harness.ts";

const schema = z.object({ order: z.string() });
const once = topic("once", { schema, partitions: 4, deduplicate: { window: "5m" } });
const byOrder = topic("by-order", {
  schema,
  partitions: 4,
  key: (value) => value.order,
  deduplicate: { window: "5m", by: (value) => value.order },
});
const bounded = topic("bounded", { schema, partitions: 2, maxDepth: 3 });
const order = (number: number | string) => ({ order: String(number) });

test("[R11][Q10] a send with a message id that was sent before appends nothing and answers where the first one is", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  const first = await sluice.send(once, order(1), { messageId: "a" });
  assert.equal(first.status, "appended");
  assert.deepEqual(await sluice.send(once, order(2), { messageId: "a" }), { ...first, status: "duplicate" });
  await using other = await here.connect();
  assert.deepEqual(await other.send(once, order(3), { messageId: "a" }), { ...first, status: "duplicate" });
  assert.equal((await sluice.send(once, order(1), { messageId: "b" })).status, "appended");
  assert.equal((await sluice.send(once, order(1))).status, "appended", "without an id it is new");
  const rows = await here.sql`select value->>'order' as number, id from topics.once order by 1, 2`;
  assert.deepEqual(
    rows.map((row) => row["number"]),
    ["1", "1", "1"],
  );
  assert.ok(rows.some((row) => row["id"] === first.id));
});

test("[Q10] a batch knows its messages by what the topic says, also those that it holds twice, and posts hear of it", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  const known = await sluice.send(byOrder, order("x"));
  const results = await sluice.sendBatch(byOrder, ["a", "x", "b", "a", "c"].map(order));
  assert.deepEqual(
    results.map(({ status }) => status),
    ["appended", "duplicate", "appended", "duplicate", "appended"],
  );
  assert.deepEqual({ ...results[3], status: "appended" }, results[0]);
  assert.deepEqual({ ...results[1], status: "appended" }, known);
  const heard = Promise.withResolvers<string>();
  sluice.post(byOrder, order("c"), {}, (error, result) => heard.resolve(error ? String(error) : (result?.id ?? "")));
  assert.equal(await heard.promise, results[4]?.id);
  const rows = await here.sql`select id, value->>'order' as number, partition, "offset"::int from topics."by-order"`;
  for (const { status, id, partition, offset } of results.filter((result) => result.status === "appended")) {
    const row = rows.find((stored) => stored["id"] === id);
    assert.deepEqual([row?.["partition"], row?.["offset"], status], [partition, offset, "appended"]);
  }
  assert.equal(rows.length, 4);
});

test("[Q10] in a transaction of yours and from SQL a message is queued, and what was sent before is dropped on its way", async () => {
  await using here = await world();
  await using running = await here.start(app({ topics: [once, byOrder] }));
  const first = await running.sluice.send(once, order("first"), { messageId: "a", headers: { from: "direct" } });
  assert.equal(first.status, "appended");
  await here.sql.begin(async (tx) => {
    const queued = await running.sluice.send(once, order("second"), { tx, messageId: "a", headers: { from: "tx" } });
    assert.equal(queued.status, "queued");
    await running.sluice.send(once, order("third"), { tx, messageId: "b", headers: { from: "tx" } });
    await running.sluice.sendBatch(byOrder, [order(1), order(2), order(1)], { tx });
    await tx`select sluice.send_once('once', message_id => 'b', value => '{"order":"fourth"}')`;
    await tx`select sluice.send_once('once', message_id => 'c', value => '{"order":"fifth"}', headers => '{"from":"sql"}')`;
    await tx`select sluice.send('once', value => '{"order":"last"}')`;
  });
  await eventually("everything has left the outbox", async () => {
    const [row] = await here.sql`select count(*)::int as waiting from sluice.outbox`;
    return row?.["waiting"] === 0 ? true : undefined;
  });
  const rows = await here.sql`select value->>'order' as number, headers->>'from' as from from topics.once order by 1`;
  assert.deepEqual(
    rows.map((row) => [row["number"], row["from"]]),
    [
      ["fifth", "sql"],
      ["first", "direct"],
      ["last", null],
      ["third", "tx"],
    ],
  );
  const [others] = await here.sql`select count(*)::int as messages from topics."by-order"`;
  assert.equal(others?.["messages"], 2);
  const again = await running.sluice.send(once, order("again"), { messageId: "c" });
  const [fifth] = await here.sql`select id from topics.once where value->>'order' = 'fifth'`;
  assert.deepEqual([again.status, again.id], ["duplicate", fifth?.["id"]]);
  await assert.rejects(here.sql`select sluice.send_once('nothing', 'x', '1')`, { code: "42704" });
  await here.sql`select sluice.create_topic('plain')`;
  await assert.rejects(here.sql`select sluice.send_once('plain', 'x', '1')`, { code: "22023" });
});

test("[Q10] after its window an id is taken again, by the database's clock", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  const first = await sluice.send(once, order(1), { messageId: "a" });
  await here.sql`update sluice.deduplication set expires_at = clock_timestamp() - interval '1 second'`;
  const second = await sluice.send(once, order(2), { messageId: "a" });
  assert.equal(second.status, "appended");
  assert.notEqual(second.id, first.id);
  assert.equal((await sluice.send(once, order(2), { messageId: "a" })).id, second.id);
});

test("[U3][Q3] a full topic refuses a send with QUEUE_FULL, a batch as a whole, and takes more when a group has gone on", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  await sluice.sendBatch(bounded, [order(1), order(2)]);
  const full = (error: unknown) => isSluiceError(error, "QUEUE_FULL") && error.retryable;
  await assert.rejects(sluice.sendBatch(bounded, [order(3), order(4)]), full);
  await sluice.send(bounded, order(3));
  await assert.rejects(sluice.send(bounded, order(4)), full);
  const [guard] = await here.sql`select topic, max_depth::int, depth::int, held::int from sluice.guards`;
  assert.deepEqual({ ...guard }, { topic: "bounded", max_depth: 3, depth: 3, held: 0 });
  const inbox = new Inbox<string>();
  const reading = consumer(bounded, { group: "reading", handler: (c) => inbox.add(c.value.order) });
  await using _ = await here.start(app({ consumers: [reading] }));
  await inbox.until(3);
  await caughtUp(here.sql, "reading");
  await sluice.send(bounded, order(4));
  assert.deepEqual([...(await inbox.until(4))].sort(), ["1", "2", "3", "4"]);
});

test("[Q3] what a transaction sent to a full topic waits outside the log, in order, and is let in when there is room", async () => {
  await using here = await world();
  const gate = Promise.withResolvers<void>();
  const inbox = new Inbox<string>();
  const reading = consumer(bounded, {
    group: "reading",
    handler: async (c) => {
      await gate.promise;
      inbox.add(c.value.order);
    },
  });
  await using running = await here.start(app({ consumers: [reading] }));
  await here.sql.begin(async (tx) => {
    await running.sluice.sendBatch(bounded, count(8).map(order), { tx, partition: 0 });
  });
  await eventually("the rest is held", async () => {
    const [row] = await here.sql`select depth::int, held::int from sluice.guards`;
    return row?.["depth"] === 3 && row["held"] === 5 ? true : undefined;
  });
  await assert.rejects(running.sluice.send(bounded, order("direct")), { code: "QUEUE_FULL" });
  await here.sql.begin((tx) => running.sluice.send(bounded, order(8), { tx, partition: 0 }));
  gate.resolve();
  assert.deepEqual(
    await inbox.until(9),
    count(9).map((number) => String(number)),
  );
  const [left] = await here.sql`select held::int from sluice.guards`;
  assert.equal(left?.["held"], 0);
});

test("[Q2] a message whose time to live is over is dropped or kept as expired, and never handed over", async () => {
  await using here = await world();
  const brief = topic("brief", { schema, partitions: 1, timeToLive: "1ms" });
  await using sluice = await here.connect();
  await sluice.send(brief, order("gone"), { headers: { from: "test" }, key: "k" });
  await sluice.send(brief, order("kept"), { timeToLive: "1h" });
  await sluice.send(brief, order("gone too"));
  await eventually("the database's clock has passed it", async () => {
    const [row] =
      await here.sql`select max(appended_at) < clock_timestamp() - interval '2 ms' as past from topics.brief`;
    return row?.["past"] === true ? true : undefined;
  });
  const [dropping, burying] = [new Inbox<string>(), new Inbox<string>()];
  const consumers = [
    consumer(brief, { group: "dropping", handler: (c) => dropping.add(c.value.order) }),
    consumer(brief, {
      group: "burying",
      mode: "keyed",
      onExpired: "dead-letter",
      handler: (c) => burying.add(c.value.order),
    }),
  ];
  await using _ = await here.start(app({ consumers }));
  await Promise.all([caughtUp(here.sql, "dropping"), caughtUp(here.sql, "burying")]);
  assert.deepEqual([dropping.items, burying.items], [["kept"], ["kept"]]);
  const letters = await here.sql`
    select "group", "offset"::int, key, value->>'order' as order, headers->>'from' as from, reason, attempts
    from sluice.dead_letters order by "offset"`;
  assert.deepEqual(
    letters.map((letter) => ({ ...letter })),
    [
      { group: "burying", offset: 0, key: "k", order: "gone", from: "test", reason: "expired", attempts: 0 },
      { group: "burying", offset: 2, key: null, order: "gone too", from: null, reason: "expired", attempts: 0 },
    ],
  );
});

test("[R11] idempotent has an effect once per key and group, whichever message brings the key", async () => {
  await using here = await world();
  await here.sql`create table effect ("order" text, message text)`;
  const orders = topic("orders", { schema, partitions: 3 });
  const handled = new Inbox<string>();
  const charging = consumer(orders, {
    group: "charging",
    mode: "keyed",
    retry: { attempts: 5, backoff: fixed("1ms") },
    handler: idempotent(
      (c) => c.value.order,
      async (c) => {
        const tx = await c.tx();
        await tx.execute(`insert into effect values ('${c.value.order}', '${c.id}')`);
        handled.add(c.value.order);
        // The first try of each key fails: what it wrote goes with it, its key too.
        if (handled.items.filter((item) => item === c.value.order).length === 1) throw new Error("again");
      },
    ),
  });
  await using first = await here.start(app({ name: "first", consumers: [charging] }));
  await using _ = await here.start(app({ name: "second", consumers: [charging] }));
  await first.sluice.sendBatch(
    orders,
    count(60).map((number) => order(number % 6)),
  );
  await caughtUp(here.sql, "charging");
  const rows = await here.sql`select "order", count(*)::int as times from effect group by 1 order by 1`;
  assert.deepEqual(
    rows.map((row) => [row["order"], row["times"]]),
    count(6).map((number) => [String(number), 1]),
  );
  const [kept] = await here.sql`select count(*)::int as keys, min(expires_at - now()) > interval '6 days' as week
    from sluice.idempotence where "group" = 'charging'`;
  assert.deepEqual({ ...kept }, { keys: 6, week: true });
});

test("[Q2][Q3][Q10] guards that cannot be meant are refused at their declaration, all at once", () => {
  const wrong = {
    schema,
    deduplicate: { window: "8d", by: 7 },
    timeToLive: "soon",
    maxDepth: 0,
    overflow: "drop-newest",
  } as unknown as Parameters<typeof topic>[1];
  const error = thrownBy(() => topic("wrong", wrong));
  assert.equal(error.code, "INVALID_OPTIONS");
  assert.deepEqual(
    error.problems.map(({ path }) => path),
    ["deduplicate.window", "deduplicate.by", "timeToLive", "maxDepth", "overflow"],
  );
  const onExpired = "forget" as "drop";
  const consuming = thrownBy(() => consumer(once, { group: "g", onExpired, handler: () => undefined }));
  assert.deepEqual(
    consuming.problems.map(({ path }) => path),
    ["onExpired"],
  );
  const keyless = thrownBy(() => idempotent(undefined as unknown as () => string, () => undefined, { keep: 0 }));
  assert.deepEqual(
    keyless.problems.map(({ path }) => path),
    ["key", "keep"],
  );
});

test("[Q10] ids that cannot be kept, or that nothing would look at, are refused before anything is written", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  const plain = topic("plain", { schema });
  const code = (wanted: string) => (error: unknown) => isSluiceError(error) && error.code === wanted;
  for (const messageId of ["", "x".repeat(129), "a\u0000b", "\ud800"]) {
    await assert.rejects(sluice.send(once, order(1), { messageId }), code("INVALID_VALUE"));
  }
  await assert.rejects(sluice.send(byOrder, order("x".repeat(129))), code("INVALID_VALUE"));
  await assert.rejects(sluice.send(plain, order(1), { messageId: "a" }), code("INVALID_OPTIONS"));
  await assert.rejects(sluice.sendBatch(once, [order(1), order(2)], { messageId: "a" }), code("INVALID_OPTIONS"));
  await assert.rejects(sluice.send(plain, order(1), { timeToLive: "0s" }), code("INVALID_VALUE"));
  await assert.rejects(sluice.sendBatch(bounded, count(2_001).map(order)), code("RECORD_TOO_LARGE"));
  assert.equal((await sluice.send(once, order(1), { messageId: '"}:,{\\ \u001e' })).status, "appended");
  assert.equal((await sluice.send(once, order(1), { messageId: '"}:,{\\ \u001e' })).status, "duplicate");
  const [row] = await here.sql`select (select count(*) from topics.once)::int as once,
    (select count(*) from topics.plain)::int as plain`;
  assert.deepEqual({ ...row }, { once: 1, plain: 0 });
});

test("[Q3] a declaration that names guards makes them the topic's, one that names none leaves them", async () => {
  await using here = await world();
  const limit = async () =>
    (await here.sql`select max_depth::int as limit from sluice.guards`).map((row) => row["limit"]);
  await (await here.connect({ topics: [bounded] })).close();
  assert.deepEqual(await limit(), [3]);
  const silent = topic("bounded", { schema });
  await using sluice = await here.connect({ topics: [silent] });
  assert.deepEqual(await limit(), [3]);
  await sluice.sendBatch(silent, [order(1), order(2), order(3)]);
  await assert.rejects(sluice.send(silent, order(4)), { code: "QUEUE_FULL" });
  const wider = topic("bounded", { schema, maxDepth: 5 });
  await (await here.connect({ topics: [wider], createTopics: false })).close();
  assert.deepEqual(await limit(), [3]);
  await (await here.connect({ topics: [wider] })).close();
  assert.deepEqual(await limit(), [5]);
  // The depth is read in the database: a process that is connected goes by the new one at once.
  await sluice.send(silent, order(4));
});
