import assert from "node:assert/strict";
import { test } from "node:test";
import { app, consumer, fixed, stage, topic } from "sluice";
import { z } from "zod";
import { caughtUp, count, eventually, Inbox, recordingLogger, type World, world } from "./harness.ts";

const schema = z.object({ order: z.string() });
const order = (number: number | string) => ({ order: String(number) });
const orders = (from: number, to: number) => count(to - from).map((number) => order(from + number));
const dropping = topic("dropping", { schema, partitions: 1, maxDepth: 3, overflow: "drop-oldest" });
const bounded = topic("bounded", { schema, partitions: 1, maxDepth: 3 });

/** How full a topic is. */
async function guardOf({ sql }: World, name = "dropping") {
  const [row] = await sql<{ depth: number; held: number; dropped: number }[]>`
    select depth::int as depth, held::int as held, dropped::int as dropped from sluice.guards where topic = ${name}`;
  return { ...row };
}

/** What groups passed over. */
async function dropsOf({ sql }: World) {
  const rows = await sql<{ group: string; dropped: number }[]>`
    select "group", sum(dropped)::int as dropped from sluice.drops group by 1 order by 1`;
  return rows.map(({ group, dropped }) => [group, dropped]);
}

test("[Q3] a full topic that drops its oldest takes every send, and a group gets what is left, told once of the rest", async () => {
  await using here = await world();
  const logger = recordingLogger();
  await using sluice = await here.connect();
  for (const number of count(8)) assert.equal((await sluice.send(dropping, order(number))).status, "appended");
  assert.deepEqual(await guardOf(here), { depth: 3, held: 0, dropped: 5 });
  const inbox = new Inbox<string>();
  const reading = consumer(dropping, { group: "reading", handler: (c) => inbox.add(c.value.order) });
  await using running = await here.start(app({ consumers: [reading] }), { logger });
  assert.deepEqual(await inbox.until(3), ["5", "6", "7"]);
  await caughtUp(here.sql, "reading");
  await running.sluice.sendBatch(dropping, orders(8, 11));
  assert.deepEqual(await inbox.until(6), ["5", "6", "7", "8", "9", "10"]);
  assert.deepEqual(await dropsOf(here), [["reading", 5]]);
  const lines = logger.lines.filter(({ message }) => message.includes("dropped"));
  assert.deepEqual(
    lines.map(({ level, fields }) => [level, fields["topic"], fields["messages"]]),
    [["warn", "dropping", 5]],
  );
  // The log keeps them until retention does not: the view and reads without a group show all.
  const [kept] = await here.sql`select count(*)::int as messages from topics.dropping`;
  assert.equal(kept?.["messages"], 11);
  const everybody = new Inbox<string>();
  const telling = consumer(dropping, {
    group: "telling",
    mode: "broadcast",
    start: "earliest",
    handler: (c) => everybody.add(c.value.order),
  });
  await using _ = await here.start(app({ name: "teller", consumers: [telling] }));
  assert.deepEqual((await everybody.until(6)).slice(0, 2), ["5", "6"]);
  await assert.rejects(sluice.sendBatch(dropping, orders(0, 4)), { code: "QUEUE_FULL" });
});

for (const mode of ["ordered", "keyed", "shared"] as const) {
  test(`[Q3][I15] in ${mode} mode what is in a handler's hands is finished, and what was read ahead and dropped is not begun`, async () => {
    await using here = await world();
    const begun = new Inbox<string>();
    const gate = Promise.withResolvers<void>();
    const reading = consumer(dropping, {
      group: "reading",
      mode,
      ...(mode === "ordered" ? {} : { concurrency: 1, prefetch: 1 }),
      handler: async (c) => {
        begun.add(c.value.order);
        await gate.promise;
      },
    });
    await using running = await here.start(app({ consumers: [reading] }));
    await running.sluice.sendBatch(dropping, orders(0, 3));
    await begun.until(1);
    const begunAt = performance.now();
    await running.sluice.sendBatch(dropping, orders(3, 6));
    await running.sluice.sendBatch(dropping, orders(6, 9));
    assert.deepEqual((await guardOf(here)).depth, 3);
    await eventually("it looks again before it hands over", async () => performance.now() - begunAt > 60 || undefined);
    gate.resolve();
    await caughtUp(here.sql, "reading");
    assert.equal(begun.items[0], "0");
    assert.deepEqual(begun.items.slice(-3), ["6", "7", "8"]);
    // One that stood in line for a place may have been finished, too; either way each is accounted for.
    assert.ok(begun.items.length <= 6, begun.items.join());
    assert.deepEqual(await dropsOf(here), [["reading", 9 - begun.items.length]]);
  });
}

test("[Q3] what failed before it was dropped is tried again, and a paused group passes over what it missed", async () => {
  await using here = await world();
  const done = new Inbox<string>();
  const failed = Promise.withResolvers<void>();
  let isBroken = true;
  const reading = consumer(dropping, {
    group: "reading",
    mode: "keyed",
    retry: { attempts: 1_000, backoff: fixed("20ms") },
    handler: (c) => {
      if (c.value.order === "0" && isBroken) {
        failed.resolve();
        throw new Error("broken");
      }
      done.add(c.value.order);
    },
  });
  await using running = await here.start(app({ consumers: [reading] }));
  await running.sluice.send(dropping, order(0));
  await failed.promise;
  await here.sql`select sluice.pause_group('reading')`;
  await eventually("it is paused", async () => {
    const rows = await here.sql`select from sluice.pauses`;
    return rows.length > 0 || undefined;
  });
  for (const number of count(6)) await running.sluice.send(dropping, order(number + 1));
  isBroken = false;
  await here.sql`select sluice.resume_group('reading')`;
  await eventually(
    "the last and the first are done",
    async () => ["0", "4", "5", "6"].every((wanted) => done.items.includes(wanted)) || undefined,
  );
  await caughtUp(here.sql, "reading");
  assert.equal(new Set(done.items).size, done.items.length);
  assert.deepEqual(await dropsOf(here), [["reading", 7 - done.items.length]]);
});

test("[Q3] two groups: the slow one loses what it has not begun, the fast one nothing; nobody counts twice after a reset", async () => {
  await using here = await world();
  const fast = new Inbox<string>();
  const reading = consumer(dropping, { group: "fast", handler: (c) => fast.add(c.value.order) });
  await here.sql`select sluice.create_topic('dropping', 1)`;
  await using running = await here.start(app({ consumers: [reading] }));
  await here.sql`insert into sluice.consumer_group (name) values ('slow')`;
  await here.sql`select sluice.ensure_positions("group", 1, 'earliest') from sluice.consumer_group where name = 'slow'`;
  for (const number of count(10)) {
    await running.sluice.send(dropping, order(number));
    await fast.until(number + 1);
  }
  assert.equal(fast.items.length, 10);
  await caughtUp(here.sql, "fast");
  const slow = new Inbox<string>();
  const lagging = consumer(dropping, { group: "slow", handler: (c) => slow.add(c.value.order) });
  await using late = await here.start(app({ name: "late", consumers: [lagging] }));
  assert.deepEqual(await slow.until(3), ["7", "8", "9"]);
  await caughtUp(here.sql, "slow");
  await late.close();
  await here.sql`select sluice.reset_position('slow', 'dropping', 'earliest')`;
  await using _ = await here.start(app({ name: "again", consumers: [lagging] }));
  await slow.until(6);
  await caughtUp(here.sql, "slow");
  assert.deepEqual(slow.items, ["7", "8", "9", "7", "8", "9"]);
  assert.deepEqual(await dropsOf(here), [
    ["fast", 0],
    ["slow", 7],
  ]);
  // The log still has what was dropped: who asks for one of them gets it.
  await here.sql`select sluice.consume_again('slow', 'dropping', 0, 0)`;
  assert.equal((await slow.until(7))[6], "0");
});

test("[Q3] what comes due for a bounded topic waits outside the log while there is no room, or makes some", async () => {
  await using here = await world();
  await using running = await here.start(app({ topics: [bounded, dropping] }));
  await running.sluice.sendBatch(bounded, orders(0, 2));
  const justNow = Date.now() - 100;
  await here.sql.begin(async (tx) => {
    for (const number of [4, 3, 2]) {
      await running.sluice.send(bounded, order(number), { tx, deliverAt: new Date(justNow + number) });
    }
    await tx`select sluice.send('bounded', value => '{"order":"5"}', delay => '0 seconds')`;
  });
  await eventually("all have come due", async () => {
    const { depth, held } = await guardOf(here, "bounded");
    return (depth === 3 && held === 3) || undefined;
  });
  await assert.rejects(running.sluice.send(bounded, order("direct")), { code: "QUEUE_FULL" });
  const inbox = new Inbox<string>();
  const reading = consumer(bounded, {
    group: "reading",
    commitInterval: "10ms",
    handler: (c) => inbox.add(c.value.order),
  });
  await using _ = await here.start(app({ name: "reader", consumers: [reading] }));
  assert.deepEqual(await inbox.until(6), ["0", "1", "2", "3", "4", "5"]);
  await running.sluice.sendBatch(dropping, orders(0, 3));
  const id = (await running.sluice.send(dropping, order("late"), { delay: "1ms" })).id;
  await eventually("it is in the log", async () => {
    const rows = await here.sql`select from topics.dropping where id = ${id}`;
    return rows.length === 1 || undefined;
  });
  assert.deepEqual(await guardOf(here), { depth: 3, held: 0, dropped: 1 });
});

test("[Q10] what comes due is taken once per message id, however it was sent", async () => {
  await using here = await world();
  const once = topic("once", { schema, partitions: 2, deduplicate: { window: "5m" } });
  await using running = await here.start(app({ topics: [once] }));
  await running.sluice.send(once, order("now"), { messageId: "a" });
  await running.sluice.send(once, order("again"), { messageId: "a", delay: "1ms" });
  const justNow = Date.now() - 100;
  // Both are due at once when they commit: the one that was due first counts, not the one that was sent first.
  await here.sql.begin(async (tx) => {
    await running.sluice.send(once, order("later"), { tx, messageId: "b", deliverAt: new Date(justNow + 2) });
    await running.sluice.send(once, order("sooner"), { tx, messageId: "b", deliverAt: new Date(justNow + 1) });
  });
  await eventually("nothing is to come", async () => {
    const [row] = await here.sql`select count(*)::int as waiting from sluice.delayed`;
    return row?.["waiting"] === 0 || undefined;
  });
  const rows = await here.sql`select value->>'order' as order from topics.once order by appended_at`;
  assert.deepEqual(
    rows.map((row) => row["order"]),
    ["now", "sooner"],
  );
});

test("[K15][Q3] a stage waits while the topic that it produces to is full: no attempt is spent, and each output comes once", async () => {
  await using here = await world();
  const raw = topic("raw", { schema, partitions: 1 });
  const forwarding = stage({
    from: raw,
    to: bounded,
    group: "forwarding",
    retry: { attempts: 1 },
    map: (c) => ({ order: c.value.order }),
  });
  await using running = await here.start(app({ stages: [forwarding] }));
  await running.sluice.sendBatch(raw, orders(0, 8));
  await eventually("the stage waits for room", async () => {
    const rows = await here.sql`select from sluice.retries where "group" = 'forwarding' and error like '%release%'`;
    return ((await guardOf(here, "bounded")).depth === 3 && rows.length === 1) || undefined;
  });
  const inbox = new Inbox<string>();
  const reading = consumer(bounded, {
    group: "reading",
    commitInterval: "10ms",
    handler: (c) => inbox.add(c.value.order),
  });
  await using _ = await here.start(app({ name: "reader", consumers: [reading] }));
  assert.deepEqual(await inbox.until(8), count(8).map(String));
  await caughtUp(here.sql, "forwarding");
  const [row] =
    await here.sql`select (select count(*) from sluice.dead_letters)::int as dead, (select count(*) from topics.bounded)::int as made`;
  assert.deepEqual({ ...row }, { dead: 0, made: 8 });
});

test("[K15][Q3][Q10] a stage's outputs are deduplicated and make room, and what could never fit is given up", async () => {
  await using here = await world();
  const raw = topic("raw", { schema, partitions: 1 });
  const once = topic("once", { schema, partitions: 2, deduplicate: { window: "5m", by: (value) => value.order } });
  const group = { from: raw, retry: { attempts: 1 } };
  const stages = [
    stage({ ...group, to: once, group: "halving", map: (c) => order(Math.floor(Number(c.value.order) / 2)) }),
    stage({ ...group, to: dropping, group: "doubling", map: (c) => [c.value, c.value] }),
    stage({ ...group, to: bounded, group: "flooding", map: (c) => (c.value.order === "5" ? orders(0, 4) : undefined) }),
  ];
  await using running = await here.start(app({ stages }));
  await running.sluice.sendBatch(raw, orders(0, 6));
  for (const name of ["halving", "doubling", "flooding"]) await caughtUp(here.sql, name);
  const rows = await here.sql`select value->>'order' as order from topics.once order by 1`;
  assert.deepEqual(
    rows.map((row) => row["order"]),
    ["0", "1", "2"],
  );
  assert.deepEqual(await guardOf(here), { depth: 3, held: 0, dropped: 9 });
  const letters = await here.sql`select "group", "offset"::int from sluice.dead_letters`;
  assert.deepEqual(
    letters.map((letter) => ({ ...letter })),
    [{ group: "flooding", offset: 5 }],
  );
  assert.deepEqual(await guardOf(here, "bounded"), { depth: 0, held: 0, dropped: 0 });
});
