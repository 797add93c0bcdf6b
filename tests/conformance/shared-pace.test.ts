import assert from "node:assert/strict";
import { test } from "node:test";
import { app, type ConsumerOptions, consumer, fixed, isSluiceError, topic } from "sluice";
import { z } from "zod";
import { count, eventually, Inbox, type World, world } from "./harness.ts";

const calls = topic("calls", {
  schema: z.object({ key: z.string(), number: z.number() }),
  key: (call) => call.key,
  partitions: 2,
});

type Call = { key: string; number: number };

interface Handing {
  readonly member: string;
  readonly key: string;
  readonly number: number;
  readonly at: number;
}

function paced(inbox: Inbox<Handing>, options: Partial<ConsumerOptions<Call>>, member = "one") {
  const sharing = consumer(calls, {
    group: "paced",
    mode: "shared",
    handler: (c) => inbox.add({ ...c.value, member, at: performance.now() }),
    ...options,
  });
  return app({ name: member, consumers: [sharing] });
}

const all = (to: number) => count(to).map((number) => ({ key: `key-${number}`, number }));

const lastOf = (handed: readonly Handing[]) => Math.max(...handed.map(({ at }) => at));

/**
 * How long two members take to handle 60 messages of which so many a second may go, from before they were sent (a busy machine makes it
 * longer), and how many each of them had.
 */
async function paceOfTwo(
  here: World,
  messages: number,
): Promise<{ readonly tookMs: number; readonly shares: readonly number[] }> {
  const inbox = new Inbox<Handing>();
  const rateLimit = { messages, per: "1s" } as const;
  await using one = await here.start(paced(inbox, { rateLimit }, "one"));
  await using two = await here.start(paced(inbox, { rateLimit }, "two"));
  const beganAt = performance.now();
  await one.sluice.sendBatch(calls, all(60));
  const handed = await inbox.until(60);
  void two;
  return {
    tookMs: lastOf(handed) - beganAt,
    shares: ["one", "two"].map((name) => handed.filter(({ member }) => member === name).length),
  };
}

test("a rate limit holds over all members of a shared group", async () => {
  await using here = await world();
  const { tookMs, shares } = await paceOfTwo(here, 100);
  // The first has its turn at once and the last 590 ms later.
  assert.ok(tookMs >= 580, `${tookMs} ms`);
  assert.equal(
    shares.reduce((sum, share) => sum + share, 0),
    60,
  );
});

test("the check sees members that reserve for themselves alone", async () => {
  await using here = await world();
  await here.sql`create or replace function sluice.reserve_pace(p_group integer, p_topic integer, p_key text, p_count integer,
    p_interval_ms double precision, p_since timestamptz) returns double precision language sql return 0`;
  const { tookMs } = await paceOfTwo(here, 10);
  // It would be six seconds.
  assert.ok(tookMs < 5_500, `${tookMs} ms`);
});

test("[Q5] what a slow pace makes wait is leased to whoever is there, a second's worth each at most", async () => {
  await using here = await world();
  const inbox = new Inbox<Handing>();
  const rateLimit = { messages: 5, per: "1s" } as const;
  await using one = await here.start(paced(inbox, { rateLimit }, "one"));
  await one.sluice.sendBatch(calls, all(200));
  await inbox.until(3);
  const [row] = await here.sql<{ messages: number }[]>`select sum(messages)::int as messages from sluice.pending`;
  // Beside those that wait: what was done and is written with the next interval.
  assert.ok((row?.messages ?? 0) <= 5 + 5, `${row?.messages} messages are leased`);
});

test("[Q10] leases hold while their messages wait for the pace, and closing does not wait for it", async () => {
  await using here = await world();
  const inbox = new Inbox<Handing>();
  const rateLimit = { messages: 1, per: "4s" } as const;
  const one = await here.start(app({ ...paced(inbox, { rateLimit }, "one"), lease: "1s", heartbeat: "200ms" }));
  const two = await here.start(app({ ...paced(inbox, { rateLimit }, "two"), lease: "1s", heartbeat: "200ms" }));
  await one.sluice.sendBatch(calls, all(20));
  await inbox.until(2);
  const [row] = await here.sql<
    { taken: number }[]
  >`select count(*)::int as taken from sluice.pending where deliveries > 0`;
  assert.equal(row?.taken, 0);
  const beganAt = performance.now();
  assert.deepEqual(await Promise.all([one.close(), two.close()]), [true, true]);
  assert.ok(performance.now() - beganAt < 3_500, "it waited for the pace");
  assert.equal(new Set(inbox.items.map(({ number }) => number)).size, inbox.items.length);
  const [left] = await here.sql<{ left: number }[]>`
    select (select sum(lag) from sluice.lag)::int as left, (select count(*) from sluice.dead_letters)::int as dead`;
  assert.equal(left?.left, 20 - inbox.items.length);
});

test("a limit per key holds one key back and no other", async () => {
  await using here = await world();
  const inbox = new Inbox<Handing>();
  const rateLimit = { messages: 1, per: "50ms", scope: "key" } as const;
  await using running = await here.start(paced(inbox, { rateLimit, concurrency: 2 }));
  const values = count(40).map((number) => ({ key: number % 4 === 0 ? "busy" : `idle-${number}`, number }));
  const beganAt = performance.now();
  await running.sluice.sendBatch(calls, values);
  const handed = await inbox.until(40);
  const busy = handed.filter(({ key }) => key === "busy");
  assert.equal(busy.length, 10);
  assert.ok(lastOf(busy) - beganAt >= 440, "ten of one key, one every 50 ms");
  const lastIdle = Math.max(...handed.filter(({ key }) => key !== "busy").map(({ at }) => at));
  assert.ok(lastIdle < Math.max(...busy.map(({ at }) => at)), "the others did not wait for it");
});

test("further attempts and redriven messages take their turn, too", async () => {
  await using here = await world();
  const inbox = new Inbox<Handing>();
  const state = { fails: true };
  await using running = await here.start(
    paced(inbox, {
      rateLimit: { messages: 1, per: "100ms" },
      retry: { attempts: 2, backoff: fixed("1ms") },
      handler: (c) => {
        inbox.add({ ...c.value, member: "one", at: performance.now() });
        if (state.fails) throw new Error("no");
      },
    }),
  );
  const beganAt = performance.now();
  await running.sluice.sendBatch(calls, all(3));
  await inbox.until(6);
  await eventually("three letters", async () => {
    const { letters } = await running.sluice.deadLetters.list();
    return letters.length === 3 ? letters : undefined;
  });
  state.fails = false;
  await running.sluice.deadLetters.redriveGroup("paced");
  // Nine handings-over, so eight times 100 ms between the first and the last.
  assert.ok(lastOf(await inbox.until(9)) - beganAt >= 790);
});

test("a limit per key is refused where a key that waits would hold up the others", () => {
  const refused = (mode: "ordered" | "shared" | "broadcast") => {
    try {
      consumer(calls, {
        group: "g",
        mode,
        rateLimit: { messages: 1, per: "1s", scope: "key" },
        handler: () => undefined,
      });
    } catch (error) {
      return isSluiceError(error, "INVALID_OPTIONS") ? error.problems.map(({ path }) => path) : error;
    }
    return undefined;
  };
  assert.deepEqual(refused("ordered"), ["rateLimit.scope"]);
  assert.equal(refused("shared"), undefined);
  assert.equal(refused("broadcast"), undefined);
});
