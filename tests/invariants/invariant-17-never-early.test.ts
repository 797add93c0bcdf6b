import { expect, setDefaultTimeout, test } from "bun:test";
import { eventually, History } from "@sluice/testkit";
import type postgres from "postgres";
import { recording } from "./recording-groups.ts";
import { during, killBackends, openRig, plant, type Rig } from "./rig.ts";

setDefaultTimeout(60_000);

/** Delayed messages whose values are their due times, to the microsecond, spread over `spanMs` from now; their ids. */
async function sendSpread(sql: postgres.Sql, count: number, spanMs: number): Promise<string[]> {
  const rows = await sql<{ id: string }[]>`
    select sluice.send('letters', value => to_json(d.due::text), key => (d.number % 17)::text, deliver_at => d.due) as id
    from (select number, clock_timestamp() + random() * ${spanMs}::integer * interval '1 millisecond' as due
      from generate_series(1, ${count}::integer) number) d`;
  return rows.map(({ id }) => id);
}

/** Invariant 17: what is in the log earlier than it was due, both by the database's clock. */
async function early(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ id: string }[]>`
    select id from topics.letters where appended_at < (value #>> '{}')::timestamptz order by 1`;
  return rows.map(({ id }) => id);
}

/** In one snapshot: ids that are not in exactly one of the waiting and the log, or in one although they were recalled. */
async function misplaced(
  sql: postgres.Sql,
  ids: readonly string[],
  recalled: readonly string[] = [],
): Promise<string[]> {
  const rows = await sql<{ sentence: string }[]>`
    with place as (select id from sluice.delayed_messages union all select id from topics.letters),
    counted as (select id, count(*) as places from place group by id)
    select format('%s is in %s places', s.id, coalesce(c.places, 0)) as sentence
    from unnest(string_to_array(${ids.join(",")}, ',')) s(id) left join counted c using (id)
    where coalesce(c.places, 0) <> case when s.id = any (string_to_array(${recalled.join(",")}, ',')) then 0 else 1 end`;
  return rows.map(({ sentence }) => sentence);
}

async function startMover(rig: Rig, entry: Parameters<Rig["worker"]>[0]["entry"], name: string): Promise<void> {
  const { topic } = await rig.topic("letters", 3);
  await rig.worker({ name, entry, ...recording(topic, new History(), { group: "readers" }) });
}

const nothingWaits = (sql: postgres.Sql) =>
  eventually("nothing waits", async () => (await sql`select from sluice.delayed limit 1`).length === 0);

test("[I17][R4] no message enters the log before it is due, of thousands", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 3);
  await startMover(rig, entry, "mover");
  const ids = await sendSpread(rig.sql, 5_000, 1_500);
  await nothingWaits(rig.sql);
  expect(await early(rig.sql)).toEqual([]);
  expect(await misplaced(rig.sql, ids)).toEqual([]);
  expect(ids.length).toBe(5_000);
});

test("[I17] the check sees a mover that does not look at the clock", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 3);
  await plant(rig.sql, "sluice.move_delayed", [" and d.due <= v_now", ""]);
  await startMover(rig, entry, "mover");
  const ids = await sendSpread(rig.sql, 50, 60_000);
  await nothingWaits(rig.sql);
  expect((await early(rig.sql)).length).toBeGreaterThan(40);
  expect(await misplaced(rig.sql, ids)).toEqual([]);
});

test("[I17][R4] movers that are killed while they move lose nothing, double nothing and are never early", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 3);
  for (const name of ["first", "second"]) await startMover(rig, entry, name);
  const ids = await sendSpread(rig.sql, 4_000, 2_000);
  let rounds = 0;
  let killed = 0;
  await during(nothingWaits(rig.sql), async () => {
    rounds += 1;
    expect(await misplaced(rig.sql, ids)).toEqual([]);
    // Those that move, in the middle of it; and sessions, so that the duty changes hands. A few times: all must end.
    if (killed < 5) {
      const movers = await rig.sql`
        select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
          and query like '%sluice.move_delayed(%' and state = 'active' and pid <> pg_backend_pid()`;
      killed += movers.length;
    }
    if (rounds === 10 || rounds === 30) await killBackends(rig.sql, rounds === 10 ? "sluice first" : "sluice second");
  });
  expect(await misplaced(rig.sql, ids)).toEqual([]);
  expect(await early(rig.sql)).toEqual([]);
  expect(rounds).toBeGreaterThan(5);
  expect(killed).toBeGreaterThan(0);
});

for (const [defect, part, replacement, sentence] of [
  [
    "moves without deleting",
    /delete from sluice\.delayed d using fitting f where ([^)]*?) returning d\.\*/,
    "select d.* from sluice.delayed d, fitting f where $1",
    "2 places",
  ],
  ["deletes without appending", /execute format\('select sluice_log\.append_[^;]*;/, "", "0 places"],
] as const) {
  test(`[I17] the check sees a mover that ${defect}`, async () => {
    await using rig = await openRig();
    await rig.topic("letters", 3);
    await plant(rig.sql, "sluice.move_delayed", [part, replacement]);
    const ids = await sendSpread(rig.sql, 1, 0);
    const [row] = await rig.sql<{ epoch: string }[]>`select sluice.take_duty(3, 'test') as epoch`;
    await rig.sql`select * from sluice.move_delayed(${row?.epoch ?? ""}, null, 100, 1000000)`;
    expect(await misplaced(rig.sql, ids)).toEqual([`${ids[0]} is in ${sentence}`]);
  });
}

test("[I12][R4] a mover that has been replaced moves nothing", async () => {
  await using rig = await openRig();
  await rig.topic("letters", 3);
  const [id] = await sendSpread(rig.sql, 1, 0);
  const [old] = await rig.sql<{ epoch: string }[]>`select sluice.take_duty(3, 'old') as epoch`;
  await rig.sql`select sluice.take_duty(3, 'new')`;
  const refused = rig.sql`select * from sluice.move_delayed(${old?.epoch ?? ""}, null, 100, 1000000)`;
  expect(await refused.catch((error: { code?: string }) => error.code)).toBe("SL001");
  expect((await rig.sql`select id from sluice.delayed_messages`)[0]?.["id"]).toBe(id);
});

/** Recalls each message about when it is due, several at a time; the ids for which the answer was true. */
async function recallAll(sql: postgres.Sql, ids: readonly string[]): Promise<string[]> {
  const recalled: string[] = [];
  const left = [...ids];
  const lane = async () => {
    for (let id = left.shift(); id !== undefined; id = left.shift()) {
      const [row] = await sql<{ recalled: boolean }[]>`
        select sluice.recall(${id}) as recalled from pg_sleep(random() * 0.004)`;
      if (row?.recalled === true) recalled.push(id);
    }
  };
  await Promise.all([0, 1, 2, 3].map(lane));
  return recalled;
}

/** Lets movers and recalls race for 2,000 messages in 20 rounds; ends when neither has anything left to do. */
async function race(rig: Rig): Promise<{ readonly ids: string[]; readonly recalled: string[] }> {
  const ids: string[] = [];
  const recalled: string[] = [];
  for (let round = 0; round < 20; round += 1) {
    const sent = await sendSpread(rig.sql, 100, 20);
    ids.push(...sent);
    recalled.push(...(await recallAll(rig.sql, sent)));
  }
  await nothingWaits(rig.sql);
  return { ids, recalled };
}

test("[R4] of a recall and the delivery exactly one wins, in many rounds", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 3);
  await startMover(rig, entry, "mover");
  const { ids, recalled } = await race(rig);
  expect(await misplaced(rig.sql, ids, recalled)).toEqual([]);
  // Both have won now and then, or nothing was shown.
  expect(recalled.length).toBeGreaterThan(0);
  expect(recalled.length).toBeLessThan(ids.length);
});

test("[R4] the check sees a recall that only looks", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 3);
  await plant(rig.sql, "sluice.recall", ["delete from", "perform from"]);
  await startMover(rig, entry, "mover");
  const { ids, recalled } = await race(rig);
  expect((await misplaced(rig.sql, ids, recalled)).length).toBeGreaterThan(0);
});
