import assert from "node:assert/strict";
import { test } from "node:test";
import { app, type ConsumerOptions, consumer, fixed, isSluiceError, type Place, type Sluice, topic } from "sluice";
import { z } from "zod";
import { caughtUp, count, eventually, Inbox, recordingLogger, type World, world } from "./harness.ts";

const readings = topic("readings", { schema: z.number(), partitions: 1 });

type Options = Partial<ConsumerOptions<number>>;

function reading(inbox: Inbox<number>, options: Options = {}) {
  return app({
    consumers: [consumer(readings, { group: "report", handler: (c) => inbox.add(c.value), ...options })],
  });
}

/** Sends numbers one after the other, so that each has a time of its own. */
async function send(sluice: Sluice, from: number, to: number): Promise<void> {
  for (const number of count(to - from)) await sluice.send(readings, from + number);
}

async function databaseTime(here: World): Promise<Date> {
  const [row] = await here.sql<{ now: Date }[]>`select clock_timestamp() as now`;
  return row?.now as Date;
}

/** Ten messages, with a moment between the fifth and the sixth. */
async function tenReadings(here: World): Promise<Date> {
  await using sluice = await here.connect({ topics: [readings] });
  await send(sluice, 0, 5);
  // A date has milliseconds, the database's clock more.
  const moment = await eventually("a moment later than the fifth message", async () => {
    const [row] = await here.sql<{ later: boolean; now: Date }[]>`
      select date_trunc('milliseconds', clock_timestamp()) > max(appended_at) as later, clock_timestamp() as now from topics.readings`;
    return row?.later === true ? row.now : undefined;
  });
  await eventually("the moment is over", async () => ((await databaseTime(here)) > moment ? true : undefined));
  await send(sluice, 5, 10);
  return moment;
}

test("[M2][K8] a late group starts at an offset or a time, or where the log ends", async () => {
  await using here = await world();
  const moment = await tenReadings(here);
  const places: [Place, number][] = [
    [{ offset: 3 }, 3],
    [{ offset: 99 }, 10],
    [{ time: moment }, 5],
    [{ time: moment.toISOString() }, 5],
    [{ time: 0 }, 0],
    [{ time: "2100-01-01T00:00:00Z" }, 10],
    ["latest", 10],
  ];
  for (const [index, [start, expected]] of places.entries()) {
    const inbox = new Inbox<number>();
    const group = `late-${index}`;
    {
      await using _running = await here.start(reading(inbox, { group, start }));
      await caughtUp(here.sql, group);
    }
    assert.deepEqual(
      inbox.items,
      count(10 - expected).map((number) => expected + number),
      JSON.stringify(start),
    );
  }
  for (const start of [
    { offset: -1 },
    { offset: 1.5 },
    { time: "yesterday" },
    { time: new Date(Number.NaN) },
    "now" as never,
  ])
    assert.throws(
      () => reading(new Inbox(), { start }),
      (error) => isSluiceError(error, "INVALID_OPTIONS"),
    );
});

test("[K14][Q7] a partition is browsed by offset and by time, and nobody's position moves", async () => {
  await using here = await world();
  const moment = await tenReadings(here);
  await using sluice = await here.connect();
  const read = async (options: Omit<Parameters<Sluice["read"]>[1], "partition">) => {
    const values: number[] = [];
    for await (const records of sluice.read(readings, { partition: 0, ...options }))
      values.push(...records.map(({ value }) => value));
    return values;
  };
  assert.deepEqual(await read({}), count(10));
  assert.deepEqual(await read({ from: 8 }), [8, 9]);
  assert.deepEqual(await read({ from: 2, to: 4 }), [2, 3]);
  assert.deepEqual(await read({ from: { time: moment } }), [5, 6, 7, 8, 9]);
  assert.deepEqual(await read({ from: 3, to: { time: moment } }), [3, 4]);
  assert.deepEqual(await read({ from: { time: "2100-01-01T00:00:00Z" } }), []);
  await assert.rejects(read({ from: { time: "soon" } }), (error) => isSluiceError(error, "INVALID_OPTIONS"));
  const [row] = await here.sql`select count(*)::int as positions from sluice.lag`;
  assert.equal(row?.["positions"], 0);
});

test("[K14] reading goes on in a segment that was begun since the reader looked", async () => {
  await using here = await world();
  await tenReadings(here);
  await using sluice = await here.connect();
  const read = async () => {
    const values: number[] = [];
    for await (const records of sluice.read(readings, { partition: 0 }))
      values.push(...records.map(({ value }) => value));
    return values;
  };
  assert.deepEqual(await read(), count(10));
  await here.sql`select sluice.roll_segment(topic) from sluice.topic where name = ${readings.name}`;
  await sluice.send(readings, 10, { partition: 0 });
  assert.deepEqual(await read(), count(11));
});

test("[K8][R8] a group is moved to an offset or a time, after a dry run that says what that means", async () => {
  await using here = await world();
  const moment = await tenReadings(here);
  const before = new Inbox<number>();
  {
    await using _running = await here.start(reading(before));
    await before.until(10);
    await caughtUp(here.sql, "report");
  }
  await using sluice = await here.connect();
  const { groups } = sluice;
  const move = { topic: "readings", partition: 0, from: 10, note: null } as const;
  const back = [{ ...move, to: 5, skipped: 0, repeated: 5 }];
  assert.deepEqual(await groups.reset("report", "readings", { time: moment }, { dryRun: true }), back);
  assert.deepEqual(await groups.reset("report", "readings", { time: moment }, { dryRun: true }), back, "it was dry");
  assert.deepEqual(await groups.reset("report", "readings", { time: moment }), back);
  assert.deepEqual(await groups.shift("report", "readings", 2), [{ ...move, from: 5, to: 7, skipped: 2, repeated: 0 }]);
  assert.deepEqual(await groups.shift("report", "readings", -100, { partitions: [0] }), [
    { ...move, from: 7, to: 0, skipped: 0, repeated: 7, note: "-93 is before the log, which begins at 0" },
  ]);
  assert.deepEqual(await groups.reset("report", "readings", { offset: 50 }), [
    { ...move, from: 0, to: 10, skipped: 10, repeated: 0, note: "50 is beyond the log, which ends at 10" },
  ]);
  await groups.reset("report", "readings", { offset: 8 });
  const after = new Inbox<number>();
  await using _running = await here.start(reading(after));
  assert.deepEqual(await after.until(2), [8, 9]);
  const acts = await here.sql<{ act: string }[]>`select act from sluice.audits order by audit`;
  assert.deepEqual(
    acts.map(({ act }) => act),
    ["reset", "shift", "shift", "reset", "reset"],
  );
});

test("[K8][R8] a group is not moved without a place, nor begins at none", async () => {
  await using here = await world();
  await tenReadings(here);
  {
    const inbox = new Inbox<number>();
    await using _running = await here.start(reading(inbox));
    await inbox.until(10);
    await caughtUp(here.sql, "report");
  }
  await here.sql`select sluice.reset_position('report', 'readings', '3')`;
  await here.sql`insert into sluice.consumer_group (name) values ('new')`;
  const refusal = {
    code: "22004",
    message: "sluice: a position cannot go to SQL null; nothing was changed",
    hint: "Say where: earliest, latest, an offset, or a time.",
  };
  await assert.rejects(async () => here.sql`select sluice.reset_position('report', 'readings', null)`, refusal);
  await assert.rejects(
    async () => here.sql`select sluice.reset_position('report', 'readings', null, dry_run => true)`,
    refusal,
  );
  await assert.rejects(
    async () => here.sql`
      select sluice.ensure_positions_at("group", 1, null) from sluice.consumer_group where name = 'new'`,
    refusal,
  );
  const places = await here.sql<{ name: string; next: number }[]>`
    select g.name, p.next_offset::int as next from sluice.position p join sluice.consumer_group g using ("group")`;
  assert.deepEqual([...places], [{ name: "report", next: 3 }]);
});

test("[K8][R8] a group is cloned to where another one is", async () => {
  await using here = await world();
  await tenReadings(here);
  await using sluice = await here.connect();
  {
    await using _running = await here.start(reading(new Inbox(), { start: { offset: 4 }, handler: () => {} }));
    await caughtUp(here.sql, "report");
  }
  await sluice.groups.shift("report", "readings", -3);
  const planned = [
    { topic: "readings", partition: 0, from: null, to: 7, skipped: 0, repeated: 0, note: "will be made" },
  ];
  assert.deepEqual(await sluice.groups.clone("report", "report-2", { dryRun: true }), planned);
  const [made] = await sluice.groups.clone("report", "report-2");
  assert.deepEqual([made?.from, made?.to, made?.skipped], [0, 7, 7]);
  const inbox = new Inbox<number>();
  await using _running = await here.start(reading(inbox, { group: "report-2" }));
  assert.deepEqual(await inbox.until(3), [7, 8, 9]);
});

test("[K8][R8] a group at work is not moved, unless by force: it goes on from the new place at once", async () => {
  await using here = await world();
  await tenReadings(here);
  const inbox = new Inbox<number>();
  await using running = await here.start(reading(inbox));
  const { groups } = running.sluice;
  await inbox.until(10);
  await assert.rejects(groups.reset("report", "readings", "earliest"), (error) => isSluiceError(error, "GROUP_ACTIVE"));
  const [dry] = await groups.reset("report", "readings", "earliest", { dryRun: true });
  assert.equal(dry?.note, "a member is at work on it: needs force");
  await caughtUp(here.sql, "report");
  const [moved] = await groups.reset("report", "readings", { offset: 6 }, { force: true });
  assert.equal(moved?.note, "its member was fenced");
  await inbox.until(14);
  assert.deepEqual(inbox.items.slice(10), [6, 7, 8, 9]);
  await assert.rejects(groups.reset("nobody", "readings", "latest"), (error) => isSluiceError(error, "UNKNOWN_GROUP"));
  await assert.rejects(groups.reset("report", "nothing", "latest"), (error) => isSluiceError(error, "UNKNOWN_TOPIC"));
  const wrong = groups.reset("report", "readings", "latest", { partitions: [7] });
  await assert.rejects(wrong, (error) => isSluiceError(error, "UNKNOWN_GROUP"));
});

for (const mode of ["ordered", "keyed"] as const) {
  test(`[R8] one message is consumed once more by one group, its position does not move (${mode})`, async () => {
    await using here = await world();
    await tenReadings(here);
    const [inbox, others] = [new Inbox<number>(), new Inbox<number>()];
    const audit = consumer(readings, { group: "audit", handler: (c) => others.add(c.value) });
    const report = consumer(readings, { group: "report", mode, handler: (c) => inbox.add(c.value) });
    await using running = await here.start(app({ consumers: [report, audit] }));
    await Promise.all([inbox.until(10), others.until(10)]);
    await caughtUp(here.sql, "report");
    const { groups } = running.sluice;
    assert.equal(await groups.consumeAgain("report", "readings", 0, 3), "redriven");
    assert.deepEqual((await inbox.until(11)).slice(10), [3]);
    assert.equal(await groups.consumeAgain("report", "readings", 0, 10), "gone");
    assert.equal(others.items.length, 10);
    const [row] = await here.sql`select committed_offset::int as at from sluice.lag where "group" = 'report'`;
    assert.equal(row?.["at"], 10);
  });

  test(`[U5][K8] load is stored up while a group is paused, and let go at once (${mode})`, async () => {
    await using here = await world();
    await tenReadings(here);
    const inbox = new Inbox<number>();
    await using running = await here.start(reading(inbox, { mode }), { name: "load-test" });
    const { groups } = running.sluice;
    await inbox.until(10);
    await caughtUp(here.sql, "report");
    assert.equal(await groups.pause("report", { topic: "readings", reason: "load test" }), true);
    assert.equal(await groups.pause("report", { topic: "readings" }), false);
    await running.close();
    const stored = new Inbox<number>();
    await using again = await here.start(reading(stored, { mode }));
    await send(again.sluice, 10, 60);
    assert.equal(await again.sluice.groups.consumeAgain("report", "readings", 0, 0), "redriven");
    const [status] = await again.sluice.groups.list();
    assert.deepEqual([status?.lag, status?.pausedPartitions, status?.ownedPartitions], [50, 1, 1]);
    assert.equal(status?.paused?.reason, "load test");
    assert.match(status?.paused?.by ?? "", /\(load-test\)$/);
    assert.deepEqual(stored.items, []);
    assert.equal(await again.sluice.groups.resume("report"), 1);
    assert.deepEqual(
      [...(await stored.until(51))].sort((left, right) => left - right),
      [0, ...count(50).map((n) => n + 10)],
    );
    const [lag] = await here.sql`select paused_since from sluice.lag`;
    assert.equal(lag?.["paused_since"], null);
  });

  test(`[K8] a pause stops a group that is at work between two messages; what runs finishes (${mode})`, async () => {
    await using here = await world();
    const inbox = new Inbox<number>();
    const [reached, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const app = reading(inbox, {
      mode,
      concurrency: 1,
      handler: async (c) => {
        if (c.value === 2) {
          reached.resolve();
          await goOn.promise;
        }
        inbox.add(c.value);
      },
    });
    const logger = recordingLogger();
    await using running = await here.start(app, { logger });
    await running.sluice.sendBatch(readings, count(10));
    await reached.promise;
    await here.sql`select sluice.pause_group('report')`;
    await eventually("the member has heard of the pause", async () =>
      logger.lines.find(({ message }) => message.startsWith("a partition is paused")),
    );
    goOn.resolve();
    await inbox.until(3);
    await caughtUpTo(here, 3);
    assert.deepEqual(inbox.items, [0, 1, 2]);
    assert.equal((await here.sql`select sluice.resume_group('report') as ended`)[0]?.["ended"], 1);
    assert.deepEqual(await inbox.until(10), count(10));
  });

  test(`[R5][K8] onExhausted "pause" pauses the partition for good, with its reason, until the group is resumed (${mode})`, async () => {
    await using here = await world();
    const inbox = new Inbox<number>();
    const state = { fails: true };
    const options: Options = {
      mode,
      onExhausted: "pause",
      retry: { attempts: 2, backoff: fixed("1ms") },
      handler: (c) => {
        if (c.value === 1 && state.fails) throw new Error("the printer is out of paper");
        inbox.add(c.value);
      },
    };
    const running = await here.start(reading(inbox, options));
    await running.sluice.sendBatch(readings, [0, 1], { key: "one" });
    const pause = await eventually(
      "the partition is paused",
      async () => (await here.sql`select * from sluice.pauses`)[0],
    );
    assert.deepEqual([pause["group"], pause["topic"], pause["partition"]], ["report", "readings", 0]);
    assert.equal(pause["reason"], "offset 1: Error: the printer is out of paper");
    await running.close();
    // Whatever restarts, it stays so.
    await using again = await here.start(reading(inbox, options));
    await again.sluice.send(readings, 2, { key: "one" });
    state.fails = false;
    assert.deepEqual(inbox.items, [0]);
    await again.sluice.groups.resume("report", { topic: "readings", partition: 0 });
    assert.deepEqual(await inbox.until(3), [0, 1, 2]);
  });

  test(`[R5][K8] a partition that paused itself goes on in the same process once it is resumed (${mode})`, async () => {
    await using here = await world();
    const inbox = new Inbox<number>();
    const state = { fails: true };
    await using running = await here.start(
      reading(inbox, {
        mode,
        onExhausted: "pause",
        retry: { attempts: 1 },
        handler: (c) => {
          if (state.fails) throw new Error("not yet");
          inbox.add(c.value);
        },
      }),
    );
    await running.sluice.sendBatch(readings, [0, 1], { key: "one" });
    await eventually("the partition is paused", async () => (await here.sql`select * from sluice.pauses`)[0]);
    state.fails = false;
    await running.sluice.groups.resume("report");
    assert.deepEqual(await inbox.until(2), [0, 1]);
  });
}

/** Resolves once the group has committed this far. */
function caughtUpTo(here: World, offset: number): Promise<true> {
  return eventually(`offset ${offset} is committed`, async () => {
    const [row] = await here.sql`select committed_offset::int as at from sluice.lag`;
    return row?.["at"] === offset ? (true as const) : undefined;
  });
}
