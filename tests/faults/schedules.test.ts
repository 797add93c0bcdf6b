import { expect, setDefaultTimeout, test } from "bun:test";
import { declareSchedule } from "@sluice/broker";
import { silentLogger } from "@sluice/kernel";
import { openTopic } from "@sluice/log";
import { eventually } from "@sluice/testkit";
import type postgres from "postgres";
import { app, schedule, topic } from "sluice";
import { z } from "zod";
import { during, killBackends, openRig, plant, type Rig } from "../invariants/rig.ts";

setDefaultTimeout(60_000);

const ticks = topic("ticks", { schema: z.string(), partitions: 1 });
const names = ["one", "two", "three"];

const declared = schedule(ticks, { name: "second", cron: "* * * * * *", value: "tick", missed: "all" });

async function startAll(rig: Rig): Promise<void> {
  for (const name of names) {
    const running = await app({ name, schedules: [declared] }).start({ url: rig.url, logger: silentLogger });
    rig.use(running);
  }
}

/** What is wrong with the ticks that were sent: some twice, or some left out between the first and the last. */
async function wrongTicks(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ sentence: string }[]>`
    with sent as (
      select (headers ->> 'sluice-tick')::timestamptz as tick, count(*) as times from topics.ticks group by 1)
    select format('%s came %s times', s.tick, coalesce(s.times, 0)) as sentence
    from (select generate_series(min(tick), max(tick), '1 second') as tick from sent) expected
    left join sent s using (tick) where s.times is distinct from 1`;
  return rows.map(({ sentence }) => sentence);
}

const sentOf = async (sql: postgres.Sql) => (await sql`select from topics.ticks`).length;

test("[Q11] each tick is sent once with three workers, whatever is killed", async () => {
  await using rig = await openRig();
  // As if nobody had run for a minute, so that there is much to do at once when something dies.
  const pool = rig.pool();
  await declareSchedule(pool, declared, (await openTopic(pool, ticks, { create: true })).number, "before");
  await rig.sql`update sluice.schedule set next_at = next_at - interval '1 minute'`;
  await startAll(rig);
  let rounds = 0;
  await during(
    eventually("a minute of ticks are in the log", async () => (await sentOf(rig.sql)) >= 63),
    async () => {
      rounds += 1;
      // The sessions that hold the duty, and those that send, in turn; not for ever, because they need a moment to be back.
      const name = names[rounds % 3] as string;
      if (rounds <= 6) await killBackends(rig.sql, rounds % 2 === 0 ? `sluice ${name}` : name);
      await rig.sql`select pg_sleep(0.1)`;
    },
  );
  expect(await wrongTicks(rig.sql)).toEqual([]);
  expect(rounds).toBeGreaterThan(2);
});

test("[Q11] the check sees a schedule that is not moved on to its next tick", async () => {
  await using rig = await openRig();
  await plant(rig.sql, "sluice.fire_schedule", [
    /update sluice\.schedule s set next_at = .*?where/s,
    "update sluice.schedule s set revision = s.revision where",
  ]);
  await startAll(rig);
  await eventually("ticks are in the log", async () => (await sentOf(rig.sql)) >= 5);
  expect((await wrongTicks(rig.sql)).length).toBeGreaterThan(0);
});

test("[I12][Q11] an old owner, an old revision and a tick that has not come send nothing", async () => {
  await using rig = await openRig();
  await startAll(rig);
  await rig.sql`select sluice.pause_schedule('second')`;
  const [row] = await rig.sql<{ epoch: string; schedule: number }[]>`
    select epoch, (select schedule from sluice.schedule) as schedule from sluice.duty where name = 'schedules'`;
  const { epoch = "", schedule: number = 0 } = row ?? {};
  const fire = async (with_: { epoch?: string; revision?: string; tick?: string }) => {
    const [revision] = await rig.sql`select revision from sluice.schedule`;
    return await rig.sql`
      select sluice.fire_schedule(${with_.epoch ?? epoch}, ${number}, ${with_.revision ?? String(revision?.["revision"])},
        array[${with_.tick ?? "0"}::text::bigint], 253402300799000) as fired`.then(
      ([answer]) => answer?.["fired"],
      (error: { code?: string }) => error.code,
    );
  };
  await eventually("the outbox is empty", async () => (await rig.sql`select from sluice.outbox`).length === 0);
  const before = await sentOf(rig.sql);
  expect(await fire({}), "paused").toBe(false);
  await rig.sql`update sluice.schedule set paused = false, next_at = '9999-01-01'`;
  expect(await fire({ epoch: String(Number(epoch) - 1) })).toBe("SL001");
  expect(await fire({ revision: "0" })).toBe(false);
  expect(await fire({ tick: "253402300799000" })).toBe("22023");
  expect(await sentOf(rig.sql)).toBe(before);
  expect(await fire({})).toBe(true);
  await eventually("one is in the log", async () => (await sentOf(rig.sql)) === before + 1);
});
