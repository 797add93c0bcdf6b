import assert from "node:assert/strict";
import { test } from "node:test";
import { app, type ConsumedRecord, consumer, isSluiceError, type ScheduleOptions, schedule, topic } from "sluice";
import { z } from "zod";
import { eventually, Inbox, type World, world } from "./harness.ts";

const digests = topic("digests", {
  schema: z.object({ kind: z.string() }),
  key: ({ kind }) => kind,
  partitions: 4,
});

type Digest = { kind: string };

const weekly = (options: Partial<ScheduleOptions<Digest>> = {}) =>
  schedule(digests, { name: "weekly", every: "7d", value: { kind: "long" }, ...options });

async function rowOf(here: World, name: string) {
  const [row] = await here.sql`select * from sluice.schedules where name = ${name}`;
  return row;
}

/** Declares a schedule, as an app that has run once would have. */
async function declare(here: World, ...schedules: ReturnType<typeof weekly>[]): Promise<void> {
  const running = await here.start(app({ name: "before", schedules }));
  await running.close();
}

test("[Q11] a schedule sends its value with its key and headers, and SQL shows its last and next run", async () => {
  await using here = await world();
  const inbox = new Inbox<ConsumedRecord<Digest>>();
  const reading = consumer(digests, { group: "reading", handler: (c) => inbox.add(c) });
  const digest = schedule(digests, {
    name: "every second",
    cron: "* * * * * *",
    timeZone: "Europe/Berlin",
    value: { kind: "short" },
    headers: { origin: "clock" },
  });
  await using running = await here.start(app({ name: "reports", consumers: [reading], schedules: [digest] }));
  const [first, second] = await inbox.until(2);
  const tick = first?.headers["sluice-tick"] ?? "";
  assert.deepEqual(first?.headers, { origin: "clock", "sluice-schedule": "every second", "sluice-tick": tick });
  assert.deepEqual([first?.key, first?.value], ["short", { kind: "short" }]);
  assert.equal(new Date(tick).toISOString(), tick);
  assert.equal(Date.parse(second?.headers["sluice-tick"] ?? "") - Date.parse(tick), 1_000);
  const row = await eventually("the view shows the second run", async () => {
    const found = await rowOf(here, "every second");
    return found?.["last_id"] === second?.id ? found : undefined;
  });
  assert.deepEqual(
    [
      row["topic"],
      row["cron"],
      row["every"],
      row["time_zone"],
      row["key"],
      row["value"],
      row["headers"],
      row["missed"],
    ],
    ["digests", "* * * * * *", null, "Europe/Berlin", "short", { kind: "short" }, { origin: "clock" }, "skip"],
  );
  assert.equal(row["declared_by"], "reports");
  assert.equal(row["last_tick"].toISOString(), second?.headers["sluice-tick"]);
  assert.equal(row["next_run"] - row["last_tick"], 1_000);
  assert.ok(row["last_run"] >= row["last_tick"]);
  const early = await here.sql`select from topics.digests where appended_at < (headers ->> 'sluice-tick')::timestamptz`;
  assert.equal(early.length, 0, "never before the tick");
  void running;
});

for (const [missed, expected] of [
  ["skip", []],
  ["once", [-7]],
  ["all", [-28, -21, -14, -7]],
] as const) {
  test(`[Q11] ticks that passed while nobody ran: ${missed}`, async () => {
    await using here = await world();
    await declare(here, weekly({ missed }));
    const next = (await rowOf(here, "weekly"))?.["next_run"] as Date;
    await here.sql`update sluice.schedule set next_at = next_at - interval '28 days'`;
    const inbox = new Inbox<ConsumedRecord<Digest>>();
    const reading = consumer(digests, { group: "reading", handler: (c) => inbox.add(c) });
    await using running = await here.start(app({ consumers: [reading], schedules: [weekly({ missed })] }));
    await eventually("the next run is ahead", async () => {
      const row = await rowOf(here, "weekly");
      return String(row?.["next_run"]) === String(next) ? true : undefined;
    });
    await inbox.until(expected.length);
    await eventually("the outbox is empty", async () =>
      (await here.sql`select from sluice.outbox`).length === 0 ? true : undefined,
    );
    const sent = await here.sql`
      select (headers ->> 'sluice-tick')::timestamptz as tick from topics.digests order by partition, "offset"`;
    assert.deepEqual(
      sent.map(({ tick }) => (tick.getTime() - next.getTime()) / 86_400_000),
      expected,
    );
    void running;
  });
}

test("[Q11] of endless missed ticks the last 1,000 are sent", async () => {
  await using here = await world();
  const busy = schedule(digests, { name: "busy", cron: "*/10 * * * * *", value: { kind: "k" }, missed: "all" });
  await declare(here, busy);
  await here.sql`update sluice.schedule set next_at = next_at - interval '30 days'`;
  await using running = await here.start(app({ schedules: [busy] }));
  const [row] = await eventually("a thousand and more are in the log", async () => {
    const rows = await here.sql`
      select count(*)::int as messages, count(distinct headers ->> 'sluice-tick')::int as ticks,
        min((headers ->> 'sluice-tick')::timestamptz) > now() - interval '3 hours' as late from topics.digests`;
    return (rows[0]?.["messages"] ?? 0) >= 1_000 ? rows : undefined;
  });
  assert.ok(row?.["messages"] <= 1_002);
  assert.deepEqual([row?.["ticks"], row?.["late"]], [row?.["messages"], true]);
  void running;
});

test("[Q11] a declaration that changed changes the row, one that did not leaves it, one that is gone stays", async () => {
  await using here = await world();
  await declare(here, weekly(), schedule(digests, { name: "other", cron: "@daily", value: { kind: "other" } }));
  const first = await rowOf(here, "weekly");
  await declare(here, weekly());
  assert.deepEqual(await rowOf(here, "weekly"), first);
  await here.sql`update sluice.schedule set next_at = next_at - interval '1 millisecond' where name = 'weekly'`;
  await declare(here, weekly({ value: { kind: "longer" }, key: null, missed: "once" }));
  const second = await rowOf(here, "weekly");
  assert.deepEqual([second?.["value"], second?.["key"], second?.["missed"]], [{ kind: "longer" }, null, "once"]);
  assert.equal(second?.["next_run"] - first?.["next_run"], -1, "the clock is the same, so its next tick is");
  await declare(here, schedule(digests, { name: "weekly", cron: "0 0 1 1 *", value: { kind: "long" } }));
  const third = await rowOf(here, "weekly");
  assert.deepEqual([third?.["cron"], third?.["every"]], ["0 0 1 1 *", null]);
  assert.deepEqual([third?.["next_run"].getUTCMonth(), third?.["next_run"].getUTCDate()], [0, 1]);
  assert.equal((await rowOf(here, "other"))?.["cron"], "@daily");
});

test("[Q11] a schedule is run, paused, resumed and removed by SQL", async () => {
  await using here = await world();
  const inbox = new Inbox<ConsumedRecord<Digest>>();
  const reading = consumer(digests, { group: "reading", handler: (c) => inbox.add(c) });
  await using running = await here.start(app({ consumers: [reading], schedules: [weekly({ missed: "all" })] }));
  const next = (await rowOf(here, "weekly"))?.["next_run"] as Date;
  await here.sql`select sluice.pause_schedule('weekly')`;
  assert.deepEqual((await rowOf(here, "weekly"))?.["next_run"], null);
  await here.sql`update sluice.schedule set next_at = next_at - interval '14 days'`;
  const [run] = await here.sql`select sluice.run_schedule('weekly') as id`;
  const [received] = await inbox.until(1);
  assert.equal(received?.id, run?.["id"]);
  assert.equal(received?.headers["sluice-schedule"], "weekly");
  assert.equal((await rowOf(here, "weekly"))?.["last_id"], run?.["id"]);
  await here.sql`select sluice.resume_schedule('weekly')`;
  await eventually("it has a next run", async () => ((await rowOf(here, "weekly"))?.["next_run"] ? true : undefined));
  assert.deepEqual((await rowOf(here, "weekly"))?.["next_run"], next);
  await here.sql`select sluice.run_schedule('weekly')`;
  await inbox.until(2);
  assert.equal(
    (await here.sql`select from topics.digests`).length,
    2,
    "what passed during the pause is not made up for",
  );
  await here.sql`select sluice.remove_schedule('weekly')`;
  assert.equal(await rowOf(here, "weekly"), undefined);
  for (const verb of ["run", "pause", "resume", "remove"]) {
    await assert.rejects(here.sql.unsafe(`select sluice.${verb}_schedule('weekly')`), { code: "42704" });
  }
  void running;
});

test("[Q11] a schedule that is not declared well is refused, all problems at once", () => {
  const paths = (options: object) => {
    try {
      schedule(digests, { name: "n", every: "1h", value: { kind: "k" }, ...options });
      return [];
    } catch (error) {
      assert.ok(isSluiceError(error, "INVALID_OPTIONS"));
      return error.problems.map(({ path }) => path);
    }
  };
  const none = undefined;
  assert.deepEqual(paths({}), []);
  assert.deepEqual(paths({ name: "", missed: "never", cron: "x", value: { kind: 1 }, headers: { a: 1 } }), [
    "name",
    "missed",
    "cron",
    "value.kind",
    "headers.a",
  ]);
  assert.deepEqual(paths({ every: none }), ["cron"]);
  for (const cron of ["nine", "0 0 30 2 *", "61 * * * *", "", 5])
    assert.deepEqual(paths({ every: none, cron }), ["cron"]);
  for (const every of ["10ms", "400d", "soon"]) assert.deepEqual(paths({ every }), ["every"]);
  assert.deepEqual(paths({ every: none, cron: "0 9 * * *", timeZone: "Europe/Atlantis" }), ["timeZone"]);
  assert.deepEqual(paths({ timeZone: "Europe/Berlin" }), ["timeZone"]);
  assert.deepEqual(paths({ value: () => ({ kind: "k" }) }), ["value"]);
  assert.deepEqual(paths({ key: "k".repeat(2_000) }), ["key"]);
  assert.deepEqual(paths({ key: "\u0000" }), ["key"]);
  assert.deepEqual(paths({ headers: { "sluice-tick": "now" } }), ["headers.sluice-tick"]);
  assert.deepEqual(paths({ headers: { long: "h".repeat(20_000) } }), ["headers"]);
  assert.throws(
    () => app({ schedules: [weekly(), weekly()] }),
    (error) => isSluiceError(error, "INVALID_OPTIONS") && error.problems[0]?.path === "schedules",
  );
});
