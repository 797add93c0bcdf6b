import assert from "node:assert/strict";
import { test } from "node:test";
import { app, type ConsumerMode, type ConsumerOptions, consumer, fixed, type HoursOptions, stage, topic } from "sluice";
import { z } from "zod";
import { count, eventually, Inbox, recordingLogger, type World, world } from "./harness.ts";
import { inForce, jobs, looksAtTheClock, monday, office, working, worldAt } from "./shifted-clock.ts";

const results = topic("results", { schema: z.number(), partitions: 1 });

for (const mode of ["ordered", "keyed", "shared"] as const) {
  test(`[K8] outside of its hours a consumer hands over nothing: neither live nor retried nor redriven messages (${mode})`, async () => {
    await using here = await worldAt(monday("09:00"));
    const inbox = new Inbox<number>();
    const failed = new Inbox<number>();
    const state = { fails: true };
    const logger = recordingLogger();
    await using running = await here.start(
      working({
        mode,
        hours: office,
        retry: { attempts: 1_000, backoff: fixed("20ms") },
        handler: (c) => {
          if (c.value === 7 && state.fails) {
            failed.add(7);
            throw new Error("not now");
          }
          inbox.add(c.value);
        },
      }),
      { logger },
    );
    const { sluice } = running;
    await sluice.sendBatch(jobs, count(5), { partition: 0 });
    await inbox.until(5);
    await sluice.send(jobs, 7, { partition: 1 });
    await failed.until(1);
    await here.set(monday("18:00"));
    await inForce(here, null);
    const closed = logger.lines.find(({ message }) => message.startsWith("hours: closed"));
    assert.equal(closed?.fields["until"], new Date(monday("08:00").replace("-08T", "-09T")).toISOString());
    state.fails = false;
    const failures = failed.items.length;
    await sluice.sendBatch(jobs, [10, 11, 12], { partition: 0 });
    assert.equal(await sluice.groups.consumeAgain("work", "jobs", 0, 0), "redriven");
    const [row] = await here.sql`select open, concurrency, rate, since, until from sluice.hours`;
    assert.deepEqual(
      { ...row },
      {
        open: false,
        concurrency: mode === "ordered" ? 1 : 16,
        rate: null,
        since: new Date(monday("18:00")),
        until: new Date("2026-06-09T08:00+02:00"),
      },
    );
    // The members look twice a second; a message that is read is handed over within milliseconds.
    await looksAtTheClock(here, 3);
    assert.deepEqual([inbox.items.length, failed.items.length], [5, failures]);
    await here.set("2026-06-09T08:00:00+02:00");
    const all = await inbox.until(10);
    assert.deepEqual(
      [...all].sort((left, right) => left - right),
      [0, 0, 1, 2, 3, 4, 7, 10, 11, 12],
    );
  });
}

/** By how many milliseconds the first message was handed over after its consumer's window had opened; the clock goes on by itself. */
async function openedLate(hours: HoursOptions, mode: ConsumerMode): Promise<number> {
  await using here = await worldAt("2026-06-08T07:59:58.500+02:00");
  const inbox = new Inbox<number>();
  const asked = here.sql;
  await using running = await here.start(
    working({
      mode,
      hours,
      handler: async () => {
        const [row] = await asked<{ at: Date }[]>`select pg_catalog.clock_timestamp() + ahead as at from shifted.clock`;
        inbox.add((row?.at.getTime() ?? 0) - Date.parse(monday("08:00")));
      },
    }),
  );
  await running.sluice.send(jobs, 1);
  await inbox.until(1);
  return inbox.items[0] ?? Number.NaN;
}

for (const mode of ["keyed", "shared"] as const) {
  test(`[K8] a window opens by the database's clock, not before its time (${mode})`, async () => {
    assert.ok((await openedLate(office, mode)) >= 0);
  });

  test(`the check sees a consumer that does not wait for its window (${mode})`, async () => {
    assert.ok((await openedLate({ ...office, otherwise: {} }, mode)) < 0);
  });

  test(`[K8] what is in hand when a window closes goes on to its end (${mode})`, () => inHandAtTheEnd(mode));

  test(`[K8][N2] each window has its own concurrency: a narrower one interrupts nobody, a wider one holds at once (${mode})`, () =>
    eachItsOwnConcurrency(mode));

  test(`[K8] what waits for its turn when a narrower window opens gets no more places than that has (${mode})`, () =>
    fromARateToFewerPlaces(mode));
}

async function inHandAtTheEnd(mode: ConsumerMode): Promise<void> {
  await using here = await worldAt(monday("17:00"));
  const inbox = new Inbox<number>();
  const [begun, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  await using running = await here.start(
    working({
      mode,
      concurrency: 1,
      hours: office,
      handler: async (c) => {
        begun.resolve();
        await goOn.promise;
        inbox.add(c.value);
      },
    }),
  );
  await running.sluice.sendBatch(jobs, [1, 2], { partition: 0 });
  await begun.promise;
  await here.set(monday("18:30"));
  await inForce(here, null);
  goOn.resolve();
  await inbox.until(1);
  await eventually("it is committed, and it alone", async () => {
    const [row] = await here.sql`select committed_offset::int as at from sluice.lag where partition = 0`;
    return row?.["at"] === 1 ? true : undefined;
  });
  assert.deepEqual(inbox.items, [1]);
}

const speeds: HoursOptions = {
  timeZone: "Europe/Berlin",
  windows: [
    { name: "busy", from: "08:00", to: "18:00", concurrency: 2, rateLimit: { messages: 1, per: "1h" } },
    { name: "night", from: "22:00", to: "06:00", concurrency: 6 },
  ],
  otherwise: { concurrency: 3 },
};

async function eachItsOwnConcurrency(mode: ConsumerMode): Promise<void> {
  await using here = await worldAt(monday("23:00"));
  const one = topic("one", { schema: z.number(), partitions: 1, key: String });
  const begun = new Inbox<number>();
  const ends: (() => void)[] = [];
  const state = { running: 0 };
  const hours = { ...speeds, windows: speeds.windows.map(({ rateLimit, ...window }) => window) };
  const handler: ConsumerOptions<number>["handler"] = async (c) => {
    state.running += 1;
    begun.add(c.value);
    await new Promise<void>((resolve) => ends.push(resolve));
    state.running -= 1;
  };
  const declared = consumer(one, { group: "work", mode, concurrency: 4, hours, handler });
  const running = await here.start(app({ consumers: [declared] }));
  await running.sluice.sendBatch(one, count(40));
  await begun.until(6);
  assert.equal(state.running, 6);
  await here.set(monday("09:00"));
  await inForce(here, "busy");
  assert.equal(state.running, 6, "nobody was interrupted");
  for (const end of ends.splice(0)) end();
  await begun.until(8);
  for (const number of count(10)) {
    await eventually("two are at work", async () => (ends.length === 2 ? true : undefined));
    assert.equal(state.running, 2);
    ends.shift()?.();
    await begun.until(9 + number);
  }
  await here.set(monday("20:00"));
  await begun.until(19);
  await inForce(here, null);
  assert.equal(state.running, 3);
  await here.set(monday("22:00"));
  await begun.until(22);
  assert.equal(state.running, 6);
  const closing = running.close();
  for (const end of ends.splice(0)) end();
  await eventually("all ended", async () => (state.running === 0 ? true : undefined));
  await closing;
}

/** Eight messages wait for their turn under a slow rate when a window with no rate and two places opens: the most that ran at once. */
async function fromARateToFewerPlaces(mode: ConsumerMode): Promise<void> {
  await using here = await worldAt(monday("20:00"));
  const one = topic("one", { schema: z.number(), partitions: 1, key: String });
  const state = { running: 0, most: 0 };
  const inbox = new Inbox<number>();
  const hours: HoursOptions = {
    timeZone: "Europe/Berlin",
    windows: [{ name: "day", from: "08:00", to: "18:00", concurrency: 2 }],
    otherwise: { concurrency: 8, rateLimit: { messages: 8, per: "1d" } },
  };
  const declared = consumer(one, {
    group: "work",
    mode,
    hours,
    handler: async (c) => {
      state.running += 1;
      state.most = Math.max(state.most, state.running);
      await here.sql`select pg_sleep(0.02)`;
      state.running -= 1;
      inbox.add(c.value);
    },
  });
  await using running = await here.start(app({ consumers: [declared] }));
  await inForce(here, null);
  await running.sluice.sendBatch(one, count(40));
  await inbox.until(1);
  await eventually("the others have reserved", async () => {
    const [row] = await here.sql`select next_at > now() + interval '5 hours' as far from sluice.pace`;
    return row?.["far"] === true ? true : undefined;
  });
  await here.set("2026-06-09T09:00+02:00");
  await inbox.until(40);
  assert.equal(state.most, 2);
}

for (const mode of ["ordered", "keyed", "shared"] as const) {
  test(`[K8] each window has its own rate over all members; another one holds from its beginning on (${mode})`, async () => {
    await using here = await worldAt(monday("09:00"));
    const inbox = new Inbox<number>();
    const hours = { ...speeds, windows: speeds.windows.map(({ concurrency, ...window }) => window), otherwise: {} };
    const declare = () => working({ mode, hours, handler: (c) => inbox.add(c.value) });
    await using one = await here.start(declare());
    await using _two = await here.start(declare());
    await inForce(here, "busy", 2);
    const rates = await here.sql<{ rate: string }[]>`select distinct rate from sluice.hours`;
    assert.deepEqual(
      rates.map(({ rate }) => rate),
      ["1 per 1h"],
    );
    await one.sluice.sendBatch(jobs, count(20));
    await inbox.until(1);
    // What waits for its turn has reserved hours from now.
    await eventually("the others have reserved", async () => {
      const [row] = await here.sql`select next_at > now() + interval '90 minutes' as far from sluice.pace`;
      return row?.["far"] === true ? true : undefined;
    });
    assert.equal(inbox.items.length, 1);
    await here.set(monday("23:00"));
    assert.deepEqual(
      [...(await inbox.until(20))].sort((a, b) => a - b),
      count(20),
    );
  });
}

/** After five messages an hour apart were reserved: how long the next one waits under a rate that is in force since later, and how often that helps. */
async function reservedAgain(here: World): Promise<readonly number[]> {
  await using _running = await here.start(working({ hours: { windows: [{}] } }));
  const wait = async (count: number, since: string) => {
    const [row] = await here.sql<{ hours: number }[]>`
      select round(sluice.reserve_pace(g."group", t.topic, '', ${count}, 3600000, ${since}::text::timestamptz) / 3600000)::int as hours
      from sluice.consumer_group g, sluice.topic t where t.name = 'jobs'`;
    return row?.hours ?? Number.NaN;
  };
  return [
    await wait(5, "2026-06-08"),
    await wait(1, "2026-06-08"),
    await wait(1, "2026-06-09"),
    await wait(1, "2026-06-09"),
    await wait(1, "2026-06-08"),
  ];
}

test("[K8] a newer rate takes back what was reserved under an older one, once, and leaves an hour's distance", async () => {
  await using here = await world();
  assert.deepEqual(await reservedAgain(here), [0, 5, 1, 2, 3]);
});

test("the check sees reservations of an older rate that stay, and such as are taken back again and again", async () => {
  const broken = async (change: string) => {
    await using here = await world();
    const [row] = await here.sql<{ text: string }[]>`
      select pg_get_functiondef('sluice.reserve_pace(integer, integer, text, integer, double precision, timestamptz)'::regprocedure) as text`;
    await here.sql.unsafe((row?.text ?? "").replace("excluded.since > p.since", change));
    return await reservedAgain(here);
  };
  assert.deepEqual(await broken("false"), [0, 5, 6, 7, 8]);
  assert.deepEqual(await broken("excluded.since <> p.since"), [0, 5, 1, 2, 1]);
});

test("[K8][R2] stages keep hours, too", async () => {
  await using here = await worldAt(monday("07:00"));
  const double = stage({ from: jobs, to: results, group: "double", hours: office, map: (c) => c.value * 2 });
  await using running = await here.start(app({ stages: [double] }));
  await running.sluice.sendBatch(jobs, count(10));
  await inForce(here, null);
  await looksAtTheClock(here, 3);
  const [none] = await here.sql`select count(*)::int as results from topics.results`;
  assert.equal(none?.["results"], 0);
  await here.set(monday("08:00"));
  await eventually("all are doubled", async () => {
    const [row] = await here.sql`select count(*)::int as results from topics.results`;
    return row?.["results"] === 10 ? true : undefined;
  });
});
