import assert from "node:assert/strict";
import { test } from "node:test";
import { app, type ConsumerOptions, consumer, topic } from "sluice";
import { z } from "zod";
import { count, eventually, Inbox, letTimePass, type World, world } from "./harness.ts";

const flags = topic("flags", { schema: z.object({ number: z.number() }), partitions: 2 });

type Flag = { number: number };

function caching(inbox: Inbox<number>, options: Partial<ConsumerOptions<Flag>> = {}, name = "one") {
  const handler = (c: { readonly value: Flag }) => inbox.add(c.value.number);
  return app({
    name,
    consumers: [consumer(flags, { group: "cache", mode: "broadcast", start: "earliest", handler, ...options })],
  });
}

/** Sends flags one by one, every second of which is on. */
async function sendFlags(here: World, from: number, total: number): Promise<void> {
  await using sluice = await here.connect();
  for (const index of count(total)) {
    const headers = { tag: (from + index) % 2 === 0 ? "on" : "off" };
    await sluice.send(flags, { number: from + index }, { headers });
  }
}

const ordered = (inbox: Inbox<number>) => [...inbox.items].sort((left, right) => left - right);
const evens = (to: number) => count(to).filter((number) => number % 2 === 0);

test("[R6][M3] each member of a broadcast gets all that its filter lets through, from before its start and after", async () => {
  await using here = await world();
  const [first, second] = [new Inbox<number>(), new Inbox<number>()];
  await using one = await here.start(caching(first, { filter: "on" }, "one"));
  await sendFlags(here, 0, 40);
  await using two = await here.start(caching(second, { filter: "on" }, "two"));
  await Promise.all([first.until(20), second.until(20)]);
  await sendFlags(here, 40, 10);
  await Promise.all([first.until(25), second.until(25)]);
  assert.deepEqual(ordered(first), evens(50));
  assert.deepEqual(ordered(second), evens(50));
  void [one, two];
});

test("[Q2] what has expired reaches no member, and is one dead letter of the group", async () => {
  await using here = await world();
  const inboxes = [new Inbox<number>(), new Inbox<number>()];
  const options = { onExpired: "dead-letter" } as const;
  {
    await using running = await here.start(caching(new Inbox(), options));
    await running.sluice.send(flags, { number: 0 }, { timeToLive: "1ms" });
    await running.sluice.send(flags, { number: 1 }, { timeToLive: "1h" });
    await running.sluice.send(flags, { number: 2 });
  }
  await here.sql`delete from sluice.dead_letter`;
  await letTimePass(here.sql, 10);
  await using one = await here.start(caching(inboxes[0] as Inbox<number>, options, "one"));
  await using two = await here.start(caching(inboxes[1] as Inbox<number>, options, "two"));
  for (const inbox of inboxes) {
    await inbox.until(2);
    assert.deepEqual(ordered(inbox), [1, 2]);
  }
  const letters = await eventually("a letter", async () => {
    const rows = await here.sql`select value->>'number' as number, reason, attempts from sluice.dead_letters`;
    return rows.length > 0 ? rows : undefined;
  });
  assert.deepEqual([...letters], [{ number: "0", reason: "expired", attempts: 0 }]);
  void [one, two];
});

test("a broadcast's rate limit is each member's own, over all its partitions", async () => {
  await using here = await world();
  await sendFlags(here, 0, 40);
  const times = [new Inbox<number>(), new Inbox<number>()];
  const rateLimit = { messages: 20, per: "1s" } as const;
  const paced = (inbox: Inbox<number>, name: string) =>
    caching(new Inbox(), { rateLimit, handler: () => inbox.add(performance.now()) }, name);
  await using one = await here.start(paced(times[0] as Inbox<number>, "one"));
  await using two = await here.start(paced(times[1] as Inbox<number>, "two"));
  for (const inbox of times) {
    const seen = await inbox.until(40);
    // A first that was late shortens that.
    assert.ok(Math.max(...seen) - Math.min(...seen) >= 1_000, "40 messages, one every 50 ms");
  }
  assert.deepEqual([...(await here.sql`select from sluice.pace`)], []);
  void [one, two];
});

test("a limit per key holds one key of a broadcast back and no other", async () => {
  await using here = await world();
  const seen = new Inbox<string>();
  const rateLimit = { messages: 1, per: "200ms", scope: "key" } as const;
  await using running = await here.start(
    caching(new Inbox(), { concurrency: 4, rateLimit, handler: (c) => seen.add(c.key ?? "") }),
  );
  for (const key of ["busy", "busy", "busy", "idle"]) await running.sluice.send(flags, { number: 0 }, { key });
  assert.deepEqual((await seen.until(2)).slice(0, 2).sort(), ["busy", "idle"]);
  assert.deepEqual((await seen.until(4)).slice(2), ["busy", "busy"]);
});

test("[K8] a paused broadcast's members hand over nothing, also those that start meanwhile, and then all in order", async () => {
  await using here = await world();
  const [first, second] = [new Inbox<number>(), new Inbox<number>()];
  await using one = await here.start(caching(first, {}, "one"));
  await sendFlags(here, 0, 2);
  await first.until(2);
  await one.sluice.groups.pause("cache", { topic: "flags" });
  await using two = await here.start(caching(second, {}, "two"));
  // A look at what is paused is made twice a second.
  await letTimePass(here.sql, 700);
  await one.sluice.sendBatch(
    flags,
    count(10).map((number) => ({ number: 2 + number })),
    { partition: 0 },
  );
  await letTimePass(here.sql, 700);
  assert.deepEqual([first.items.length, second.items.length], [2, 0]);
  await two.sluice.groups.resume("cache");
  await Promise.all([first.until(12), second.until(12)]);
  assert.deepEqual(
    first.items.slice(2),
    count(10).map((number) => 2 + number),
  );
});

test("[K8] the check sees a broadcast that does not ask whether it is paused", async () => {
  await using here = await world();
  await here.sql`create or replace function sluice.is_paused(p_group integer, p_topic integer, p_partition integer) returns boolean
    language sql stable return false`;
  const inbox = new Inbox<number>();
  await using one = await here.start(caching(inbox));
  await one.sluice.groups.pause("cache");
  await sendFlags(here, 0, 2);
  await inbox.until(2);
});
