import assert from "node:assert/strict";
import { test } from "node:test";
import { eq, sql } from "drizzle-orm";
import { integer, pgTable, text } from "drizzle-orm/pg-core";
import { drizzle } from "drizzle-orm/postgres-js";
import { app, consumer, fixed, isSluiceError, type RunningApp, type SendOptions, topic } from "sluice";
import { z } from "zod";
import { caughtUp, eventually, Inbox, type World, world } from "./harness.ts";

const orders = topic("orders", { schema: z.object({ order: z.string() }), key: (order) => order.order, partitions: 2 });
const invoices = topic("invoices", { schema: z.object({ order: z.string() }), partitions: 1 });

const orderTable = pgTable("orders", { order: text().primaryKey(), attempt: integer() });

async function prepare(here: World): Promise<{ inbox: Inbox<string>; running: RunningApp }> {
  await here.sql`create table orders ("order" text primary key, attempt integer)`;
  const inbox = new Inbox<string>();
  const reading = consumer(orders, { group: "reading", handler: (c) => inbox.add(`${c.id} ${c.value.order}`) });
  return { inbox, running: await here.start(app({ topics: [invoices], consumers: [reading] })) };
}

async function rows(here: World): Promise<string[]> {
  return (await here.sql<{ order: string }[]>`select "order" from orders order by 1`).map((row) => row.order);
}

test("[N1] a drizzle transaction commits the row and the message together", async () => {
  await using here = await world();
  const { inbox, running } = await prepare(here);
  await using _ = running;
  const database = drizzle({ client: here.sql });
  const result = await database.transaction(async (tx) => {
    await tx.insert(orderTable).values({ order: "kept" });
    const queued = await running.sluice.send(orders, { order: "kept" }, { tx });
    const [waiting] = await here.sql`select count(*)::int as messages from topics.orders`;
    assert.equal(waiting?.["messages"], 0, "nothing is in the log before the commit");
    return queued;
  });
  assert.deepEqual(result, { ...result, status: "queued", topic: "orders", offset: null });
  assert.deepEqual(await inbox.until(1), [`${result.id} kept`]);
  assert.deepEqual(await rows(here), ["kept"]);
  const [row] = await here.sql`select id, key, partition from topics.orders`;
  assert.deepEqual({ ...row }, { id: result.id, key: "kept", partition: result.partition });
});

test("[N1] a drizzle transaction that rolls back leaves neither the row nor the message", async () => {
  await using here = await world();
  const { inbox, running } = await prepare(here);
  await using _ = running;
  const database = drizzle({ client: here.sql });
  const undone = database.transaction(async (tx) => {
    await tx.insert(orderTable).values({ order: "undone" });
    await running.sluice.send(orders, { order: "undone" }, { tx });
    tx.rollback();
  });
  await assert.rejects(undone);
  // What is sent afterwards arrives, and it arrives alone.
  await running.sluice.send(orders, { order: "after" });
  await inbox.until(1);
  await caughtUp(here.sql, "reading");
  assert.deepEqual(
    inbox.items.map((item) => item.split(" ")[1]),
    ["after"],
  );
  assert.deepEqual(await rows(here), []);
  const [left] = await here.sql`select count(*)::int as waiting from sluice.outbox`;
  assert.equal(left?.["waiting"], 0);
});

test("[N1] a postgres.js transaction does the same, for a batch too", async () => {
  await using here = await world();
  const { inbox, running } = await prepare(here);
  await using _ = running;
  const undone = here.sql.begin(async (tx) => {
    await tx`insert into orders values ('undone')`;
    await running.sluice.send(orders, { order: "undone" }, { tx });
    throw new Error("undo");
  });
  await assert.rejects(undone, { message: "undo" });
  const results = await here.sql.begin(async (tx) => {
    await tx`insert into orders values ('a'), ('b')`;
    return await running.sluice.sendBatch(orders, [{ order: "a" }, { order: "b" }], { tx, headers: { from: "batch" } });
  });
  await inbox.until(2);
  assert.deepEqual([...inbox.items].sort(), results.map((result, index) => `${result.id} ${["a", "b"][index]}`).sort());
  assert.deepEqual(await rows(here), ["a", "b"]);
  const stored = await here.sql`select distinct headers->>'from' as header from topics.orders`;
  assert.deepEqual(
    stored.map((row) => row["header"]),
    ["batch"],
  );
});

test("[N1] messages that a transaction sends one by one come whole and in its order, with either library", async () => {
  await using here = await world();
  const notes = topic("notes", { schema: z.object({ text: z.string() }), partitions: 1 });
  const told = new Inbox<unknown>();
  const listening = consumer(notes, {
    group: "listening",
    handler: ({ id, key, value, headers, timestamp }) => told.add({ id, key, text: value.text, headers, timestamp }),
  });
  await using running = await here.start(app({ consumers: [listening] }));
  const wanted = [
    { key: null, text: "", headers: {}, timestamp: 1 },
    { key: "k", text: "$1 'quoted' \\ \u2028 é 🙂", headers: { a: "$2", "b c": '"' }, timestamp: 2 },
    { key: "$3", text: "null", headers: {}, timestamp: 3 },
  ];
  const ids: string[] = [];
  const sendAll = async (tx: SendOptions["tx"]) => {
    for (const { text, ...options } of wanted)
      ids.push((await running.sluice.send(notes, { text }, { ...options, ...(tx && { tx }) })).id);
  };
  await drizzle({ client: here.sql }).transaction(sendAll);
  await here.sql.begin(sendAll);
  const items = await told.until(6);
  assert.deepEqual(
    items,
    [...wanted, ...wanted].map((note, index) => ({ id: ids[index], ...note })),
  );
});

test("[N1] a value that does not fit is refused inside a transaction too, which stays usable", async () => {
  await using here = await world();
  const { inbox, running } = await prepare(here);
  await using _ = running;
  await here.sql.begin(async (tx) => {
    const wrong = { order: 7 } as unknown as { order: string };
    await assert.rejects(running.sluice.sendBatch(orders, [{ order: "good" }, wrong], { tx }), (error) =>
      isSluiceError(error, "INVALID_VALUE"),
    );
    await running.sluice.send(orders, { order: "then" }, { tx });
  });
  await inbox.until(1);
  assert.deepEqual(
    inbox.items.map((item) => item.split(" ")[1]),
    ["then"],
  );
});

test("[N1] what is no transaction is refused", async () => {
  await using here = await world();
  const { running } = await prepare(here);
  await using _ = running;
  await assert.rejects(running.sluice.send(orders, { order: "x" }, { tx: {} as never }), (error) =>
    isSluiceError(error, "INVALID_OPTIONS"),
  );
});

test("[N1] with c.tx() the row, the next message and the position commit together, or not at all", async () => {
  await using here = await world();
  await here.sql`create table orders ("order" text primary key, attempt integer)`;
  const [attempts, invoiced] = [new Inbox<number>(), new Inbox<string>()];
  const running: { current?: RunningApp } = {};
  const ordering = consumer(orders, {
    group: "ordering",
    commitInterval: "1h",
    retry: { backoff: fixed("10ms") },
    handler: async (c) => {
      const tx = await c.tx();
      await tx.insert(orderTable).values({ order: c.value.order, attempt: c.attempt });
      await running.current?.sluice.send(invoices, { order: c.value.order }, { tx });
      attempts.add(c.attempt);
      if (c.attempt < 3) throw new Error("after the row and the message");
      // A breach would show here: what the failed attempts wrote must be gone.
      const found = await tx.select().from(orderTable).where(eq(orderTable.order, c.value.order));
      assert.equal(found.length, 1);
    },
  });
  const invoicing = consumer(invoices, { group: "invoicing", handler: (c) => invoiced.add(c.value.order) });
  await using started = await here.start(app({ consumers: [ordering, invoicing] }));
  running.current = started;
  await started.sluice.send(orders, { order: "o-1" });
  assert.deepEqual(await invoiced.until(1), ["o-1"]);
  assert.deepEqual(attempts.items, [1, 2, 3]);
  const [row] = await here.sql`select "order", attempt from orders`;
  assert.deepEqual({ ...row }, { order: "o-1", attempt: 3 });
  const [sent] = await here.sql`select count(*)::int as messages from topics.invoices`;
  assert.equal(sent?.["messages"], 1);
  // The mark of the handler's transaction is folded into the position when it is written next, at the latest by the stop.
  await started.close();
  const [position] = await here.sql`
    select sum(committed_offset)::int as at from sluice.lag where "group" = 'ordering'`;
  assert.equal(position?.["at"], 1);
  assert.deepEqual(invoiced.items, ["o-1"]);
});

test("[N1] after a kill between commit and interval, nothing with c.tx() happens twice", async () => {
  await using here = await world();
  await here.sql`create table effects ("order" text not null)`;
  const done = new Inbox<string>();
  const declare = () =>
    app({
      name: "killed",
      consumers: [
        consumer(orders, {
          group: "ordering",
          commitInterval: "1h",
          handler: async (c) => {
            const tx = await c.tx();
            await tx.execute(sql`insert into effects values (${c.value.order})`);
            done.add(c.value.order);
          },
        }),
      ],
    });
  await using running = await here.start(declare());
  await running.sluice.sendBatch(orders, [{ order: "a" }, { order: "b" }, { order: "c" }]);
  await done.until(3);
  await eventually("three effects are committed", async () => {
    const [row] = await here.sql`select count(*)::int as effects from effects`;
    return row?.["effects"] === 3 ? true : undefined;
  });
  // The session dies: the member is void, and its positions were never written.
  await here.sql`
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name like 'sluice killed%'`;
  await running.sluice.send(orders, { order: "d" });
  await done.until(4);
  await eventually("the fourth effect is committed", async () => {
    const [row] = await here.sql`select count(*)::int as effects from effects`;
    return row?.["effects"] === 4 ? true : undefined;
  });
  const effects = await here.sql<{ order: string }[]>`select "order" from effects order by 1`;
  assert.deepEqual(
    effects.map((effect) => effect.order),
    ["a", "b", "c", "d"],
  );
});
