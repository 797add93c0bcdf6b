import assert from "node:assert/strict";
import { test } from "node:test";
import { pgTable, text } from "drizzle-orm/pg-core";
import {
  app,
  type ConsumerOptions,
  consumer,
  type DeadLetterReason,
  fixed,
  type HandlerContext,
  isSluiceError,
  type RunningApp,
  topic,
} from "sluice";
import { z } from "zod";
import { caughtUp, count, eventually, Inbox, recordingLogger, type World, world } from "./harness.ts";

const orders = topic("orders", {
  schema: z.object({ number: z.number(), broken: z.boolean().optional() }),
  partitions: 2,
  key: (order) => `customer-${order.number % 3}`,
});

type Order = { number: number; broken?: boolean | undefined };

/** A consumer that refuses while `state.fails`, and broken orders for ever; what it did goes to the inbox. */
function shipping(inbox: Inbox<number>, state: { fails: boolean }, options: Partial<ConsumerOptions<Order>> = {}) {
  return consumer(orders, {
    group: "shipping",
    mode: "keyed",
    retry: { attempts: 2, backoff: fixed("1ms") },
    handler: (c) => {
      if (state.fails || c.value.broken === true) throw new Error(`order ${c.value.number} is refused`);
      inbox.add(c.value.number);
    },
    ...options,
  });
}

function letters(here: World, atLeast: number): Promise<number[]> {
  return eventually(`${atLeast} dead letters`, async () => {
    const rows = await here.sql<{ letter: number }[]>`
      select dead_letter::int as letter from sluice.dead_letters order by dead_letter`;
    return rows.length >= atLeast ? rows.map(({ letter }) => letter) : undefined;
  });
}

/** Resolves once nothing waits beside the log. */
function allSettled(here: World): Promise<true> {
  return eventually("no redriven message waits", async () => {
    const [row] = await here.sql<{ waiting: number }[]>`select count(*)::int as waiting from sluice.redriven_messages`;
    return row?.waiting === 0 ? (true as const) : undefined;
  });
}

/** Sends orders that all die, then lets the next ones through. */
async function bury(
  here: World,
  running: RunningApp,
  state: { fails: boolean },
  orderCount: number,
): Promise<number[]> {
  state.fails = true;
  await running.sluice.sendBatch(
    orders,
    count(orderCount).map((number) => ({ number })),
  );
  const dead = await letters(here, orderCount);
  state.fails = false;
  return dead;
}

test("[R5][Q10] dead letters are browsed by page, group, topic, reason and time", async () => {
  await using here = await world();
  const state = { fails: true };
  await using running = await here.start(app({ consumers: [shipping(new Inbox(), state)] }));
  const { deadLetters } = running.sluice;
  const dead = await bury(here, running, state, 5);
  const first = await deadLetters.list({ limit: 2 });
  assert.deepEqual([first.letters.map(({ number }) => number), first.next], [dead.slice(0, 2), dead[1]]);
  const rest = await deadLetters.list({ limit: 10, after: first.next ?? 0 });
  assert.deepEqual([rest.letters.map(({ number }) => number), rest.next], [dead.slice(2), undefined]);
  const letter = await deadLetters.get(dead[0] as number);
  assert.equal(await deadLetters.get(0), undefined);
  assert.equal(letter?.group, "shipping");
  assert.equal(letter?.reason, "exhausted");
  assert.equal(letter?.attempts, 2);
  assert.match(letter?.error ?? "", /^Error: order \d is refused$/);
  assert.deepEqual(Object.keys(letter?.value as object), ["number"]);
  const found = async (filter: Parameters<typeof deadLetters.list>[0]) =>
    (await deadLetters.list(filter)).letters.length;
  assert.equal(await found({ group: "shipping", topic: "orders", reason: "exhausted" }), 5);
  assert.equal(await found({ group: "billing" }), 0);
  assert.equal(await found({ topic: "invoices" }), 0);
  assert.equal(await found({ reason: "schema" }), 0);
  assert.equal(await found({ since: letter?.diedAt ?? 0, until: new Date(Date.now() + 3_600_000) }), 5);
  assert.equal(await found({ until: new Date(2001, 1, 1) }), 0);
  assert.equal(await found({ reason: "rejected" }), 0);
  assert.equal(await found({ reason: "expired" }), 0);
  const never = new Date(Number.NaN);
  for (const wrong of [{ limit: 0 }, { since: never }, { until: Number.NaN }, { reason: "bored" as never }])
    await assert.rejects(deadLetters.list(wrong), (error) => isSluiceError(error, "INVALID_OPTIONS"));
  await assert.rejects(deadLetters.purge(never), (error) => isSluiceError(error, "INVALID_OPTIONS"));
});

test("[R5][Q10] redrive hands letters to their group alone, once; doing it again says that they are gone", async () => {
  await using here = await world();
  const [shipped, billed] = [new Inbox<number>(), new Inbox<number>()];
  const state = { fails: true };
  const billing = consumer(orders, { group: "billing", handler: (c) => billed.add(c.value.number) });
  await using running = await here.start(app({ consumers: [shipping(shipped, state), billing] }));
  const dead = await bury(here, running, state, 4);
  await billed.until(4);
  const [one = 0, ...others] = dead;
  assert.deepEqual(await running.sluice.deadLetters.redrive(one), { redriven: [one], waiting: [], gone: [] });
  await shipped.until(1);
  await allSettled(here);
  assert.deepEqual(await running.sluice.deadLetters.redrive([one, ...others, 999]), {
    redriven: others,
    waiting: [],
    gone: [one, 999],
  });
  assert.deepEqual([...(await shipped.until(4))].sort(), [0, 1, 2, 3]);
  await allSettled(here);
  assert.equal(shipped.items.length, 4);
  assert.equal(billed.items.length, 4);
  assert.deepEqual((await running.sluice.deadLetters.list()).letters, []);
  const audits = await here.sql<{ act: string; subject: string; letters: number }[]>`
    select act, subject, json_array_length(details -> 'dead_letters')::int as letters from sluice.audits order by audit`;
  assert.deepEqual(
    audits.map(({ act, subject, letters }) => [act, subject, letters]),
    [
      ["redrive", "group shipping, topic orders", 1],
      ["redrive", "group shipping, topic orders", 3],
    ],
  );
});

test("[R5] letters that a handler rejected and those whose time was over are listed by their reasons", async () => {
  await using here = await world();
  const rejecting = consumer(orders, {
    group: "rejecting",
    mode: "keyed",
    onExpired: "dead-letter",
    handler: (c) => c.reject("the customer is gone"),
  });
  await using running = await here.start(app({ consumers: [rejecting] }));
  const { sluice } = running;
  await sluice.send(orders, { number: 1 });
  await here.sql`select sluice.pause_group('rejecting')`;
  await sluice.send(orders, { number: 2 }, { timeToLive: "1ms" });
  await here.sql`select sluice.resume_group('rejecting')`;
  await letters(here, 2);
  const reasons: DeadLetterReason[] = ["rejected", "expired"];
  for (const [index, reason] of reasons.entries()) {
    const page = await sluice.deadLetters.list({ reason });
    assert.deepEqual(
      page.letters.map((letter) => [letter.reason, letter.value]),
      [[reason, { number: index + 1 }]],
    );
  }
});

test("[R5] a letter is edited before it is redriven; one that fits the schema no more dies again, of that reason", async () => {
  await using here = await world();
  const inbox = new Inbox<number>();
  const state = { fails: true };
  await using running = await here.start(app({ consumers: [shipping(inbox, state)] }));
  const { deadLetters } = running.sluice;
  const [good = 0, bad = 0] = await bury(here, running, state, 2);
  assert.equal(await deadLetters.edit(good, { value: { number: 77 }, headers: { corrected: "yes" } }), "edited");
  assert.equal(await deadLetters.edit(bad, { value: { number: "not one" } }), "edited");
  assert.equal(await deadLetters.edit(999, { value: 1 }), "gone");
  const edited = (await deadLetters.get(good))?.edited;
  assert.deepEqual(Object.keys(edited?.originalValue as object), ["number"]);
  assert.deepEqual(edited?.originalHeaders, {});
  assert.match(edited?.by ?? "", / \(/);
  const [row] = await here.sql<{ value: unknown; edited: boolean }[]>`
    select value, edited_at is not null and edited_by is not null as edited from sluice.dead_letters where dead_letter = ${good}`;
  assert.deepEqual(row, { value: { number: 77 }, edited: true });
  await deadLetters.redrive([good, bad]);
  assert.deepEqual(await inbox.until(1), [77]);
  const again = await eventually("it died again", async () => await deadLetters.get(bad));
  assert.equal(again.reason, "schema");
  assert.equal(again.redrives, 1);
  assert.deepEqual(again.value, { number: "not one" });
  assert.ok(again.edited !== undefined);
  for (const wrong of [{ value: "\u0000" }, { value: () => 1 }, { value: 1n }, { headers: { a: 1 } as never }])
    await assert.rejects(deadLetters.edit(bad, wrong), (error) => isSluiceError(error, "INVALID_VALUE"));
  await assert.rejects(
    here.sql`select sluice.edit_dead_letter(${bad}, headers => '{"a":1}')`,
    /JSON object of strings/,
  );
});

test("[R5] a redriven message that fails keeps its attempts and its number, and stays in the way of nobody", async () => {
  await using here = await world();
  const inbox = new Inbox<number>();
  const state = { fails: false };
  await using running = await here.start(app({ consumers: [shipping(inbox, state)] }));
  await running.sluice.send(orders, { number: 1, broken: true });
  const [letter = 0] = await letters(here, 1);
  for (const redrives of [1, 2]) {
    await running.sluice.deadLetters.redrive(letter);
    const again = await eventually("it died again", async () => await running.sluice.deadLetters.get(letter));
    assert.deepEqual([again.redrives, again.attempts, again.reason], [redrives, 2, "exhausted"]);
  }
  await running.sluice.send(orders, { number: 4 });
  assert.deepEqual(await inbox.until(1), [4]);
});

test("[R5][I21] a thousand letters go back at a rate, those of one key in the order of their offsets", async () => {
  await using here = await world();
  const seen = new Inbox<{ key: string | null; partition: number; offset: number }>();
  const state = { fails: true };
  const handler: ConsumerOptions<Order>["handler"] = (c) => {
    if (state.fails) throw new Error("refused");
    seen.add({ key: c.key, partition: c.partition, offset: c.offset });
  };
  const options = { retry: { attempts: 1 }, handler } as const;
  await using running = await here.start(app({ consumers: [shipping(new Inbox(), state, options)] }));
  await bury(here, running, state, 1_000);
  const beganAt = performance.now();
  assert.equal(await running.sluice.deadLetters.redriveGroup("shipping", { topic: "orders", rate: 2_000 }), 1_000);
  assert.ok(performance.now() - beganAt > 400, "it went faster than its rate");
  await seen.until(1_000);
  await allSettled(here);
  assert.equal(seen.items.length, 1_000);
  const last = new Map<string, number>();
  for (const { key, partition, offset } of seen.items) {
    const name = `${partition} ${key}`;
    assert.ok(offset > (last.get(name) ?? -1), `offset ${offset} of ${name} came after ${last.get(name)}`);
    last.set(name, offset);
  }
  assert.equal(await running.sluice.deadLetters.redriveGroup("shipping"), 0);
});

test("[R5] all of a group are redriven once: those that die again meanwhile stay", async () => {
  await using here = await world();
  const state = { fails: true };
  await using running = await here.start(
    app({ consumers: [shipping(new Inbox(), state, { mode: "ordered", retry: { attempts: 1 } })] }),
  );
  await bury(here, running, state, 20);
  state.fails = true;
  assert.equal(await running.sluice.deadLetters.redriveGroup("shipping", { rate: 100 }), 20);
  await allSettled(here);
  const { letters: dead } = await running.sluice.deadLetters.list();
  assert.deepEqual(
    dead.map(({ redrives }) => redrives),
    count(20).map(() => 1),
  );
  await assert.rejects(running.sluice.deadLetters.redriveGroup("nobody"), (error) =>
    isSluiceError(error, "UNKNOWN_GROUP"),
  );
});

test("[R5] letters are discarded and purged, and the audit says which they were", async () => {
  await using here = await world();
  const state = { fails: true };
  await using running = await here.start(app({ consumers: [shipping(new Inbox(), state)] }));
  const { deadLetters } = running.sluice;
  const [one = 0, two = 0] = await bury(here, running, state, 3);
  assert.deepEqual(await deadLetters.discard([one, two, 999]), { discarded: [one, two], gone: [999] });
  assert.deepEqual(await deadLetters.redrive(one), { redriven: [], waiting: [], gone: [one] });
  assert.equal(await deadLetters.purge(new Date(2001, 1, 1)), 0);
  assert.equal(await deadLetters.purge(Date.now() + 3_600_000, { group: "shipping" }), 1);
  const audits = await here.sql<{ act: string; letters: { dead_letter: number; offset: number; id: string }[] }[]>`
    select act, details -> 'letters' as letters from sluice.audits order by audit`;
  assert.deepEqual(
    audits.map(({ act, letters }) => [act, letters.length]),
    [
      ["discard", 2],
      ["purge", 1],
    ],
  );
  assert.equal(audits[0]?.letters[0]?.dead_letter, one);
});

test("[R5] SQL does the same: redrive, redrive_group, edit, discard", async () => {
  await using here = await world();
  const inbox = new Inbox<number>();
  const state = { fails: true };
  await using running = await here.start(app({ consumers: [shipping(inbox, state)] }));
  const [one = 0, two = 0, three = 0] = await bury(here, running, state, 4);
  await here.sql`select sluice.edit_dead_letter(${one}, value => '{"number": 50}')`;
  await here.sql`select sluice.discard(${here.sql.array([two], 20)})`;
  const outcomes = await here.sql<{ dead_letter: string; outcome: string }[]>`
    select * from sluice.redrive(${here.sql.array([one, two], 20)})`;
  assert.deepEqual(
    outcomes.map(({ dead_letter, outcome }) => [Number(dead_letter), outcome]),
    [
      [one, "redriven"],
      [two, "gone"],
    ],
  );
  assert.deepEqual(await inbox.until(1), [50]);
  const [moved] = await here.sql`select sluice.redrive_group('shipping', "limit" => 1) as moved`;
  assert.equal(moved?.["moved"], 1);
  await inbox.until(2);
  await here.sql`select sluice.redrive_group('shipping', topic => 'orders')`;
  await inbox.until(3);
  await allSettled(here);
  await caughtUp(here.sql, "shipping");
  assert.ok(three > 0);
});

for (const mode of ["ordered", "keyed"] as const) {
  test(`[R5][N2][I21] a redriven message never runs beside another of its ${mode === "keyed" ? "key" : "partition"} (${mode})`, async () => {
    await using here = await world();
    const seen = new Inbox<number>();
    const state = { fails: true };
    const running = new Set<string>();
    const overlaps: string[] = [];
    const handler: ConsumerOptions<Order>["handler"] = async (c) => {
      if (state.fails) throw new Error("refused");
      const lane = mode === "keyed" ? `${c.partition} ${c.key}` : `${c.partition}`;
      if (running.has(lane)) overlaps.push(lane);
      running.add(lane);
      await here.sql`select pg_sleep(0.001)`;
      running.delete(lane);
      seen.add(c.value.number);
    };
    const shipped = shipping(new Inbox(), state, { mode, retry: { attempts: 1 }, handler });
    await using app_ = await here.start(app({ consumers: [shipped] }));
    await bury(here, app_, state, 60);
    const [moved] = await Promise.all([
      app_.sluice.deadLetters.redriveGroup("shipping", { rate: 300 }),
      ...count(60).map((number) => app_.sluice.send(orders, { number: 100 + number })),
    ]);
    assert.equal(moved, 60);
    await seen.until(120);
    await allSettled(here);
    assert.equal(new Set(seen.items).size, 120);
    assert.deepEqual(overlaps, []);
  });
}

test("[R5] a statement that fails leaves what the database said, and nothing of what people wrote, in letters and logs", async () => {
  await using here = await world();
  await here.sql`create table users (email text primary key)`;
  const users = pgTable("users", { email: text().primaryKey() });
  const signups = topic("signups", { schema: z.object({ email: z.email() }), partitions: 1 });
  const retry = { attempts: 2, backoff: fixed("1ms") };
  const keep = async (c: HandlerContext<{ email: string }>) => {
    const tx = await c.tx();
    await tx.insert(users).values({ email: c.value.email });
  };
  const logger = recordingLogger();
  const consumers = (["ordered", "keyed", "shared"] as const).map((mode) =>
    consumer(signups, { group: mode, mode, retry, handler: keep }),
  );
  await using running = await here.start(app({ consumers }), { logger });
  await here.sql`insert into users values ('ada@people.example')`;
  await running.sluice.send(signups, { email: "ada@people.example" });
  await letters(here, consumers.length);
  const kept = await here.sql<{ error: string }[]>`select error from sluice.dead_letters`;
  for (const { error } of kept) assert.match(error, /^PostgresError: duplicate key value violates unique constraint/);
  const told = logger.lines.flatMap(({ message, fields }) => {
    const { error, ...others } = fields;
    return [message, JSON.stringify(others), error instanceof Error ? `${error.message} ${error.stack}` : ""];
  });
  assert.ok(told.some((line) => line.includes("duplicate key")));
  assert.deepEqual(
    [...told, ...kept.map(({ error }) => error)].filter((line) => line.includes("ada@")),
    [],
  );
});
