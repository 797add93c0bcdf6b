import { expect, setDefaultTimeout, test } from "bun:test";
import { eventually } from "@sluice/testkit";
import { during, openRig, plant, type Rig } from "../invariants/rig.ts";
import { effectsNotOnce, makeEffectTable, startMember } from "./member-rig.ts";

setDefaultTimeout(90_000);

const all = ["delays", "relay", "retention", "schedules"];

/** The duties that the app of this name has, with its session there. */
async function dutiesOf(rig: Rig, name: string): Promise<string[]> {
  const rows = await rig.sql<{ duty: string }[]>`
    select duty from sluice.leaders where held and owner like ${`${name} %`} order by duty`;
  return rows.map(({ duty }) => duty);
}

async function standsForAll(rig: Rig, name: string): Promise<void> {
  await eventually(`${name} has all duties`, async () => (await dutiesOf(rig, name)).join() === all.join());
}

/** Moves of duties to the app of this name, by why. */
async function whyTo(rig: Rig, name: string): Promise<string[]> {
  const rows = await rig.sql<{ why: string }[]>`
    select why from sluice.leader_moves where "to" like ${`${name} %`} order by duty`;
  return rows.map(({ why }) => why);
}

/**
 * Two processes, the first of which has all duties. Messages come in by way of the outbox and delayed without an end until `fault` is
 * over. Resolves with those that had their effect not exactly once.
 */
async function sendDuring(rig: Rig, fault: () => Promise<void>): Promise<string[]> {
  let sent = 0;
  await during(fault(), async () => {
    await rig.sql`select sluice.send('letters', value => '"0"'), sluice.send('letters', value => '"0"', delay => interval '20 ms')`;
    sent += 2;
  });
  expect(sent).toBeGreaterThan(10);
  const notOnce = await effectsNotOnce(rig, sent);
  const [log] = await rig.sql<{ messages: number }[]>`select sum(messages)::integer as messages from sluice.partitions`;
  if (log?.messages !== sent) notOnce.push(`the log has ${log?.messages} of ${sent} messages`);
  return notOnce;
}

test("[K11] the duties of a process that is killed go to another: what waits in the outbox and what is delayed comes once", async () => {
  await using rig = await openRig();
  await makeEffectTable(rig);
  await rig.topic("letters", 4);
  const victim = await startMember(rig, "victim", 4);
  await standsForAll(rig, "victim");
  await startMember(rig, "other", 2);
  const notOnce = await sendDuring(rig, async () => {
    victim.signal("SIGKILL");
    await standsForAll(rig, "other");
  });
  expect(notOnce).toEqual([]);
  expect(await whyTo(rig, "other")).toEqual(all.map(() => "crash"));
});

test("[K11] those of a process that closes go, too, and SQL tells one from the other", async () => {
  await using rig = await openRig();
  await makeEffectTable(rig);
  await rig.topic("letters", 4);
  const victim = await startMember(rig, "victim", 4);
  await standsForAll(rig, "victim");
  await startMember(rig, "other", 2);
  victim.signal("SIGTERM");
  await standsForAll(rig, "other");
  expect(await whyTo(rig, "other")).toEqual(all.map(() => "leave"));
});

test("[K11][I12] the duties of a process that is frozen go to another when its lease is over; thawed, it works on none of them", async () => {
  await using rig = await openRig();
  await makeEffectTable(rig);
  await rig.topic("letters", 4);
  const victim = await startMember(rig, "victim", 4, { LEASE: "2000" });
  await standsForAll(rig, "victim");
  await startMember(rig, "other", 2);
  const notOnce = await sendDuring(rig, async () => {
    victim.signal("SIGSTOP");
    await standsForAll(rig, "other");
    victim.signal("SIGCONT");
    await eventually("it is back", async () => {
      const back = await rig.sql`select from sluice.members where live and name like 'victim %'`;
      return back.length === 1;
    });
  });
  expect(notOnce).toEqual([]);
  expect(await whyTo(rig, "other")).toEqual(all.map(() => "freeze"));
  expect(await dutiesOf(rig, "victim")).toEqual([]);
});

/** Work under a duty that notes whose it is, and under which epoch of the duty it was done. */
async function makeWork(rig: Rig): Promise<void> {
  await rig.sql.unsafe(`
    create table public.work (as_epoch bigint not null, in_epoch bigint not null);
    create function public.work(p_epoch bigint) returns void language plpgsql as $$
    begin
      perform sluice.assert_duty(2, p_epoch);
      insert into public.work select p_epoch, d.epoch from sluice.duty d where d.duty = 2;
    end $$`);
}

/** One that was replaced works on, before and after; and one is replaced in the middle of its work. What two did at the same time. */
async function workOutOfTerm(rig: Rig): Promise<string[]> {
  const lead = async (owner: string) =>
    Number((await rig.sql`select sluice.lead_duty(2, ${owner}) as epoch`)[0]?.["epoch"]);
  const problems: string[] = [];
  const old = await lead("old");
  await rig.sql`select public.work(${old})`;
  let next: Promise<number> | undefined;
  let isReplaced = false;
  await rig.sql.begin(async (inTheMiddle) => {
    await inTheMiddle`select public.work(${old})`;
    next = lead("next").finally(() => {
      isReplaced = true;
    });
    await eventually("the next one has taken over, or waits", async () => {
      const waiting = await rig.sql`
        select from pg_locks where locktype = 'advisory' and classid = 1936487687 and not granted
          and database = (select oid from pg_database where datname = current_database())`;
      return isReplaced || waiting.length > 0;
    });
    if (isReplaced) problems.push("another took the duty over in the middle of a round");
  });
  await rig.sql`select public.work(${(await next) ?? 0})`;
  const late = await rig.sql`select public.work(${old})`.catch((error: { code?: string }) => error.code);
  if (late !== "SL001") problems.push("one that was replaced was not refused");
  const rows = await rig.sql`select from public.work where as_epoch <> in_epoch`;
  if (rows.length > 0) problems.push("work was done in an epoch that was over");
  return problems;
}

test("[K11][I12] of two that hold themselves for the owner of a duty only one works, and never in the middle of the other's round", async () => {
  await using rig = await openRig();
  await makeWork(rig);
  expect(await workOutOfTerm(rig)).toEqual([]);
});

test("[K11][I12] the check sees a duty whose epoch is not asked for, and one that is not fenced", async () => {
  await using rig = await openRig();
  await makeWork(rig);
  await plant(rig.sql, "sluice.assert_duty", [/if not exists[\s\S]*?end if;/, ""]);
  expect(await workOutOfTerm(rig)).toEqual([
    "one that was replaced was not refused",
    "work was done in an epoch that was over",
  ]);
  await using other = await openRig();
  await makeWork(other);
  await plant(other.sql, "sluice.assert_duty", [/perform pg_advisory_xact_lock_shared[^;]*;/, ""]);
  expect(await workOutOfTerm(other)).toContain("another took the duty over in the middle of a round");
});

test("moves are forgotten when they are old or too many, never the latest of a partition or a duty", async () => {
  await using rig = await openRig();
  await rig.sql`insert into sluice.move (position, epoch, to_name, why, at)
    select p, e, 'one', 'crash', clock_timestamp() - case when e <= 2 then interval '31 days' else interval '0' end
    from generate_series(1, 3) p, generate_series(1, 4) e`;
  await rig.sql`insert into sluice.move (duty, epoch, to_name, why, at) values (1, 1, 'one', 'start', clock_timestamp() - interval '1 year')`;
  const forget = async (limit: number, keep: number) =>
    (await rig.sql`select sluice.forget_moves(${limit}::integer, ${keep}::integer) as gone`)[0]?.["gone"];
  expect(await forget(4, 100_000)).toBe(4);
  expect(await forget(100, 100_000)).toBe(2);
  expect(await forget(100, 100_000)).toBe(0);
  expect(await forget(100, 1)).toBe(3);
  const left = await rig.sql`select position, duty, epoch::integer from sluice.move order by position, duty`;
  expect(left.map((row) => ({ ...row }))).toEqual([
    ...[1, 2, 3].map((position) => ({ position, duty: null, epoch: 4 })),
    { position: null, duty: 1, epoch: 1 },
  ]);
});
