import assert from "node:assert/strict";
import { test } from "node:test";
import { drizzle } from "drizzle-orm/postgres-js";
import { app, type ConsumedRecord, consumer, isSluiceError, type SendOptions, topic } from "sluice";
import { z } from "zod";
import { caughtUp, count, eventually, Inbox, letTimePass, type World, world } from "./harness.ts";

const reminders = topic("reminders", {
  schema: z.object({ user: z.string() }),
  key: ({ user }) => user,
  partitions: 2,
});
const later = topic("later", { schema: z.number(), partitions: 1 });

function start(here: World, inbox: Inbox<ConsumedRecord<{ user: string }>>) {
  const reading = consumer(reminders, { group: "reading", handler: (c) => inbox.add(c) });
  return here.start(app({ consumers: [reading] }));
}

const waiting = async (here: World) => (await here.sql`select * from sluice.delayed_messages order by due, id`).length;

test("[R4] a delayed message waits where SQL shows it, and comes when it is due, with what it was sent with", async () => {
  await using here = await world();
  const inbox = new Inbox<ConsumedRecord<{ user: string }>>();
  await using running = await start(here, inbox);
  const sent = await running.sluice.send(reminders, { user: "ada" }, { delay: "400ms", headers: { from: "test" } });
  assert.deepEqual(sent, { ...sent, status: "delayed", topic: "reminders", offset: null });
  assert.match(sent.id, /^d-\d+$/);
  const [row] = await here.sql`select *, due - queued_at < '1 second' as near from sluice.delayed_messages`;
  assert.deepEqual(
    [row?.["id"], row?.["topic"], row?.["partition"], row?.["key"], row?.["value"], row?.["headers"], row?.["near"]],
    [sent.id, "reminders", sent.partition, "ada", { user: "ada" }, { from: "test" }, true],
  );
  const [received] = await inbox.until(1);
  assert.deepEqual(
    [received?.id, received?.partition, received?.key, received?.headers, received?.value],
    [sent.id, sent.partition, "ada", { from: "test" }, { user: "ada" }],
  );
  const [appended] = await here.sql`select appended_at >= ${row?.["due"] as Date} as in_time from topics.reminders`;
  assert.equal(appended?.["in_time"], true);
  assert.equal(await waiting(here), 0);
});

test("[R4] what was due in the past comes at once; what is due at the end of the year 9999 waits", async () => {
  await using here = await world();
  const inbox = new Inbox<ConsumedRecord<{ user: string }>>();
  await using running = await start(here, inbox);
  const last = new Date("9999-12-31T23:59:59.999Z");
  const { id } = await running.sluice.send(reminders, { user: "last" }, { deliverAt: last });
  await running.sluice.send(reminders, { user: "past" }, { deliverAt: new Date("1815-12-10") });
  await running.sluice.send(reminders, { user: "now" }, { deliverAt: Date.now() });
  await running.sluice.send(reminders, { user: "none" }, { delay: 0 });
  await inbox.until(3);
  assert.deepEqual(inbox.items.map(({ value }) => value.user).sort(), ["none", "now", "past"]);
  const [row] = await here.sql`select id, due from sluice.delayed_messages`;
  assert.deepEqual([row?.["id"], row?.["due"]], [id, last]);
});

test("[R4] a due time that is none is refused, in TypeScript and in SQL, and nothing is written", async () => {
  await using here = await world();
  await using sluice = await here.connect({ topics: [reminders] });
  const wrong: readonly SendOptions[] = [
    { delay: "1s", deliverAt: new Date() },
    { delay: Number.NaN },
    { delay: Number.POSITIVE_INFINITY },
    { delay: -1 },
    { delay: "300000000d" },
    { delay: "soon" as "1s" },
    { deliverAt: new Date("nonsense") },
    { deliverAt: Number.NaN },
    { deliverAt: Number.POSITIVE_INFINITY },
    { deliverAt: Number.NEGATIVE_INFINITY },
    { deliverAt: Date.UTC(10_000, 0) },
    { deliverAt: "2030-01-01" as unknown as Date },
  ];
  const refusal = (error: unknown) => isSluiceError(error, "INVALID_OPTIONS");
  for (const options of wrong) {
    await assert.rejects(sluice.send(reminders, { user: "u" }, options), refusal, JSON.stringify(options));
    await assert.rejects(sluice.sendBatch(reminders, [{ user: "u" }], options), refusal);
    await assert.rejects(
      here.sql.begin((tx) => sluice.send(reminders, { user: "u" }, { ...options, tx })),
      refusal,
    );
  }
  assert.throws(() => sluice.post(reminders, { user: "u" }, { delay: "1s" } as object), refusal);
  for (const [due, code] of [
    ["deliver_at => 'infinity'", "22008"],
    ["deliver_at => '-infinity'", "22008"],
    ["deliver_at => '10000-01-01 00:00:00+00'", "22008"],
    ["delay => '9000 years'", "22008"],
    ["deliver_at => now(), delay => '1 day'", "22023"],
  ] as const) {
    await assert.rejects(here.sql.unsafe(`select sluice.send('reminders', '{}', ${due})`), { code }, due);
  }
  assert.equal(await waiting(here), 0);
  const [row] = await here.sql`select count(*)::int as messages from topics.reminders`;
  assert.equal(row?.["messages"], 0);
});

test("[R4] in a transaction the delay begins with it: nothing of one that rolls back, all of one that commits", async () => {
  await using here = await world();
  const inbox = new Inbox<ConsumedRecord<{ user: string }>>();
  await using running = await start(here, inbox);
  const database = drizzle({ client: here.sql });
  await assert.rejects(
    database.transaction(async (tx) => {
      await running.sluice.send(reminders, { user: "undone" }, { tx, delay: "10ms" });
      tx.rollback();
    }),
  );
  await assert.rejects(
    here.sql.begin(async (tx) => {
      await running.sluice.sendBatch(reminders, [{ user: "undone" }], { tx, deliverAt: new Date() });
      throw new Error("undo");
    }),
  );
  const first = await database.transaction((tx) =>
    running.sluice.send(reminders, { user: "kept" }, { tx, deliverAt: Date.now() + 50 }),
  );
  const [second] = await here.sql.begin(async (tx) => {
    const results = await running.sluice.sendBatch(reminders, [{ user: "kept, too" }], { tx, delay: "50ms" });
    // Due long before the commit: it must not be found before, and not be missed after.
    await letTimePass(tx, 200);
    return results;
  });
  await inbox.until(2);
  await caughtUp(here.sql, "reading");
  assert.deepEqual(inbox.items.map(({ id }) => id).sort(), [first.id, second?.id].sort());
  assert.equal(await waiting(here), 0);
});

test("[R4] messages come in the order of their due times, and a batch in its own", async () => {
  await using here = await world();
  const inbox = new Inbox<number>();
  {
    // While no app runs, they wait.
    await using sluice = await here.connect({ topics: [later] });
    const base = Date.now() - 10_000;
    for (const number of [3, 1, 2]) await sluice.send(later, number, { deliverAt: base + number });
    await sluice.sendBatch(later, [4, 5, 6], { deliverAt: base + 4 });
  }
  assert.equal(await waiting(here), 6);
  const reading = consumer(later, { group: "reading", handler: (c) => inbox.add(c.value) });
  await using running = await here.start(app({ consumers: [reading] }));
  assert.deepEqual(await inbox.until(6), [1, 2, 3, 4, 5, 6]);
  void running;
});

test("[R4][N4] sluice.send() delays with deliver_at and delay, and is called as before without", async () => {
  await using here = await world();
  const inbox = new Inbox<ConsumedRecord<{ user: string }>>();
  await using running = await start(here, inbox);
  const [ids] = await here.sql<Record<string, string>[]>`select
    sluice.send('reminders', '{"user":"a"}', 'key', '{"h":"1"}', 0) as positional,
    sluice.send('reminders', value => '{"user":"b"}', deliver_at => now() + '50 milliseconds') as at,
    sluice.send('reminders', value => '{"user":"c"}', key => 'k', headers => '{"h":"2"}', delay => '50 milliseconds') as delayed,
    sluice.send('reminders', value => '{"user":"d"}', delay => '-1 day') as past`;
  await inbox.until(4);
  const seen = inbox.items.map(({ id, value, headers }) => [id, value.user, headers["h"]]);
  assert.deepEqual(
    seen.sort((left, right) => String(left[1]).localeCompare(String(right[1]))),
    [
      [ids?.["positional"], "a", "1"],
      [ids?.["at"], "b", undefined],
      [ids?.["delayed"], "c", "2"],
      [ids?.["past"], "d", undefined],
    ],
  );
  assert.deepEqual(
    Object.values(ids ?? {}).map((id) => id.slice(0, 2)),
    ["o-", "d-", "d-", "d-"],
  );
  void running;
});

test("[R4] recall takes a message back until it is delivered, from TypeScript and from SQL", async () => {
  await using here = await world();
  const inbox = new Inbox<ConsumedRecord<{ user: string }>>();
  await using running = await start(here, inbox);
  const { sluice } = running;
  const send = (user: string, delay: SendOptions["delay"] = "1h") => sluice.send(reminders, { user }, { delay });
  const [first, second, third] = [await send("first"), await send("second"), await send("third")];
  assert.equal(await sluice.recall(first.id), true);
  assert.equal(await sluice.recall(first.id), false, "once");
  const [row] = await here.sql`select sluice.recall(${second.id}) as recalled`;
  assert.equal(row?.["recalled"], true);
  await assert.rejects(
    here.sql.begin(async (tx) => {
      assert.equal(await sluice.recall(third.id, { tx }), true);
      throw new Error("undo");
    }),
    { message: "undo" },
  );
  assert.equal(await waiting(here), 1, "a recall that is rolled back has not happened");
  const tx = drizzle({ client: here.sql });
  assert.equal(await tx.transaction((inner) => sluice.recall(third.id, { tx: inner })), true);
  const delivered = await send("delivered", 0);
  await inbox.until(1);
  assert.equal(await sluice.recall(delivered.id), false);
  for (const id of ["", "d-", "d-0", "o-1", "1-1", "d-1; drop", `d-${"9".repeat(30)}`]) {
    assert.equal(await sluice.recall(id), false, id);
  }
  assert.equal(await waiting(here), 0);
  assert.deepEqual(
    inbox.items.map(({ value }) => value.user),
    ["delivered"],
  );
});

test("[R4] a message that is being recalled is passed over, and found again when the recall is rolled back", async () => {
  await using here = await world();
  const inbox = new Inbox<number>();
  const reading = consumer(later, { group: "reading", handler: (c) => inbox.add(c.value) });
  await using running = await here.start(app({ consumers: [reading] }));
  const sent = await running.sluice.sendBatch(later, [1, 2, 3], { delay: "300ms" });
  const held = await here.sql.reserve();
  await held`begin`;
  await held`select sluice.recall(${sent[1]?.id ?? ""})`;
  assert.deepEqual(await inbox.until(2), [1, 3]);
  await held`rollback`;
  assert.deepEqual(await inbox.until(3), [1, 3, 2]);
  held.release();
});

test("[R4] thousands that wait keep nobody who sends at once from being read, and come together when they are due", async () => {
  await using here = await world();
  const inbox = new Inbox<number>();
  const reading = consumer(later, { group: "reading", concurrency: 1, handler: (c) => inbox.add(c.value) });
  await using running = await here.start(app({ consumers: [reading] }));
  const pending = count(5_000);
  await running.sluice.sendBatch(later, pending, { delay: "1h" });
  for (const number of count(200)) await running.sluice.send(later, -1 - number);
  await inbox.until(200);
  assert.equal(await waiting(here), 5_000);
  await here.sql`update sluice.delayed set due = clock_timestamp() + '200 milliseconds'`;
  await inbox.until(5_200);
  assert.deepEqual(inbox.items.slice(200), pending);
  await eventually("nothing waits", async () => ((await waiting(here)) === 0 ? true : undefined));
});
