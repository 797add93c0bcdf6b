import assert from "node:assert/strict";
import { test } from "node:test";
import { app, consumer, isSluiceError, type RateLimit, topic } from "sluice";
import { z } from "zod";
import { count, Inbox, type World, world } from "./harness.ts";

const steps = topic("steps", {
  schema: z.object({ key: z.string(), number: z.number() }),
  key: (step) => step.key,
  partitions: 4,
});

interface Handing {
  readonly key: string;
  readonly number: number;
  readonly at: number;
}

const pacedApp = (mode: "ordered" | "keyed", rateLimit: RateLimit, inbox: Inbox<Handing>) =>
  app({
    consumers: [
      consumer(steps, {
        group: "paced",
        mode,
        rateLimit,
        handler: (c) => inbox.add({ ...c.value, at: performance.now() }),
      }),
    ],
  });

/** How long it takes two members to handle 60 messages of which 100 a second may go, from before they were sent: a busy machine makes it longer. */
async function paceOfTwo(here: World, mode: "ordered" | "keyed"): Promise<number> {
  const inbox = new Inbox<Handing>();
  await using one = await here.start(pacedApp(mode, { messages: 100, per: "1s" }, inbox));
  await using two = await here.start(pacedApp(mode, { messages: 100, per: "1s" }, inbox));
  const beganAt = performance.now();
  await one.sluice.sendBatch(
    steps,
    count(60).map((number) => ({ key: `key-${number}`, number })),
  );
  const handed = await inbox.until(60);
  await two.close();
  return Math.max(...handed.map(({ at }) => at)) - beganAt;
}

for (const mode of ["ordered", "keyed"] as const) {
  test(`a rate limit holds over all members of the group (${mode})`, async () => {
    await using here = await world();
    // The first has its turn at once and the last 590 ms later.
    assert.ok((await paceOfTwo(here, mode)) >= 580);
  });
}

/** Reserves five messages, one a second, many times at once; gives which reservations overlap. */
async function overlappingReservations(here: World): Promise<readonly string[]> {
  const [group] = await here.sql<{ group: number; topic: number }[]>`
    select sluice.create_topic('paced', 1) as topic, (select "group" from sluice.consumer_group) as "group"`;
  const starts = await Promise.all(
    count(20).map(async () => {
      const [row] = await here.sql<{ at: number }[]>`
        select extract(epoch from clock_timestamp())::float8 * 1000
          + sluice.reserve_pace(${group?.group ?? 0}, ${group?.topic ?? 0}, '', 5, 1000) as at`;
      return row?.at ?? Number.NaN;
    }),
  );
  starts.sort((a, b) => a - b);
  return starts.flatMap((at, index) => {
    const wait = at - (starts[index - 1] ?? Number.NEGATIVE_INFINITY);
    return wait > 4_500 ? [] : [`${wait} ms after another that takes 5,000`];
  });
}

test("what one member has reserved, no other gets", async () => {
  await using here = await world();
  await using running = await here.start(pacedApp("keyed", { messages: 1, per: "1s" }, new Inbox()));
  assert.deepEqual(await overlappingReservations(here), []);
  await running.close();
});

test("the check sees reservations that every member makes for itself", async () => {
  await using here = await world();
  await using running = await here.start(pacedApp("keyed", { messages: 1, per: "1s" }, new Inbox()));
  await here.sql.unsafe(`create or replace function sluice.reserve_pace(p_group integer, p_topic integer, p_key text, p_count integer,
    p_interval_ms double precision) returns double precision language sql return 0`);
  assert.equal((await overlappingReservations(here)).length, 19);
  await running.close();
});

test("a limit per key holds one key back and no other, and keeps its order", async () => {
  await using here = await world();
  const inbox = new Inbox<Handing>();
  await using running = await here.start(pacedApp("keyed", { messages: 1, per: "50ms", scope: "key" }, inbox));
  const values = count(40).map((number) => ({ key: number % 4 === 0 ? "busy" : `idle-${number}`, number }));
  const beganAt = performance.now();
  await running.sluice.sendBatch(steps, values);
  const handed = await inbox.until(40);
  const busy = handed.filter(({ key }) => key === "busy");
  assert.deepEqual(
    busy.map(({ number }) => number),
    count(10).map((number) => number * 4),
  );
  assert.ok((busy.at(-1)?.at ?? 0) - beganAt >= 440, "ten of one key, one every 50 ms");
  const lastIdle = Math.max(...handed.filter(({ key }) => key !== "busy").map(({ at }) => at));
  assert.ok(lastIdle < (busy.at(-1)?.at ?? 0), "the others did not wait for it");
  await running.close();
});

test("closing does not wait for the pace, and what was not handed over is left to the next", async () => {
  await using here = await world();
  const inbox = new Inbox<Handing>();
  const running = await here.start(pacedApp("keyed", { messages: 1, per: "1h" }, inbox));
  await running.sluice.sendBatch(
    steps,
    count(20).map((number) => ({ key: `key-${number}`, number })),
  );
  await inbox.until(1);
  assert.equal(await running.close(), true);
  assert.equal(inbox.items.length, 1);
  const [row] = await here.sql<{ lag: number }[]>`select sum(lag)::integer as lag from sluice.lag`;
  assert.equal(row?.lag, 19);
});

test("a rate limit that cannot be meant is refused with all its problems", () => {
  const refused = (mode: "ordered" | "keyed", rateLimit: RateLimit) => {
    try {
      consumer(steps, { group: "g", mode, rateLimit, handler: () => undefined });
    } catch (error) {
      return isSluiceError(error, "INVALID_OPTIONS") ? error.problems.map(({ path }) => path) : error;
    }
    return undefined;
  };
  assert.deepEqual(refused("ordered", { messages: 0, per: "2d", scope: "key" }), [
    "rateLimit.messages",
    "rateLimit.per",
    "rateLimit.scope",
  ]);
  assert.equal(refused("keyed", { messages: 5, per: "1m", scope: "key" }), undefined);
});
