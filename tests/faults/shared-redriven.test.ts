import { expect, setDefaultTimeout, test } from "bun:test";
import {
  type ClaimedMessages,
  DeadLetters,
  Groups,
  registerConsumer,
  SharedRedriven,
  SharedRetries,
} from "@sluice/broker";
import { consumer, fixed, type HandlerContext } from "@sluice/contract";
import { eventually, History } from "@sluice/testkit";
import { sql as text } from "drizzle-orm";
import type postgres from "postgres";
import { during, killBackends, openRig, plant, type Rig, sendMany } from "../invariants/rig.ts";
import { deliveries, makeDeliveredTable, sharer, startSharer } from "./shared-rig.ts";

setDefaultTimeout(90_000);

/** A topic all of whose messages are dead letters of the shared group, and a copy of where they are. */
async function allDead(rig: Rig, count: number) {
  await makeDeliveredTable(rig.sql);
  const { topic, entry } = await rig.topic("letters", 1);
  await sendMany(await rig.producer(), topic, new History(), { sender: "s", count, inFlight: 20 });
  const group = await registerConsumer(rig.pool(), {
    group: "sharers",
    topic: entry,
    mode: "shared",
    isProtected: false,
  });
  await new Groups(rig.pool()).join("sharers", entry.number, "latest");
  await rig.sql.unsafe(`
    create table public.effect ("offset" bigint);
    insert into sluice.dead_letter ("group", topic, partition, "offset", id, key, value, headers, "timestamp", reason, attempts)
    select ${group}, ${entry.number}, partition, "offset", id, key, value::text, headers, "timestamp", 'exhausted', 3 from topics.letters;
    create table public.buried as select "offset" from sluice.dead_letter`);
  return { topic, entry, letters: new DeadLetters(rig.pool()) };
}

/** In one snapshot: each message that was buried has one effect, or waits, or is a dead letter; exactly one of them. */
async function inexact(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ sentence: string }[]>`
    with places as (
      select "offset", 'effect' as state from public.effect
      union all select "offset", 'waiting' from sluice.redriven_messages
      union all select "offset", 'dead' from sluice.dead_letters)
    select format('%s is %s', "offset", coalesce(string_agg(p.state, ' and ' order by p.state), 'lost')) as sentence
    from public.buried left join places p using ("offset")
    group by "offset" having count(p.state) <> 1 order by "offset"`;
  return rows.map(({ sentence }) => sentence);
}

async function countOf(
  sql: postgres.Sql,
  table: "public.effect" | "sluice.redriven" | "public.delivered",
): Promise<number> {
  const [row] = await sql<{ count: number }[]>`select count(*)::integer from ${sql(table)}`;
  return row?.count ?? 0;
}

/** Members whose handlers write an effect in the transaction of the message. */
async function twoWriters(rig: Rig, { topic, entry }: Awaited<ReturnType<typeof allDead>>) {
  const handler = async (context: HandlerContext<string>) => {
    const tx = await context.tx();
    await tx.execute(text`insert into public.effect values (${context.offset})`);
  };
  for (const name of ["one", "two"]) {
    const retry = { attempts: 1_000, backoff: fixed("2ms") };
    const writers = consumer(topic, { group: "sharers", mode: "shared", concurrency: 4, retry, handler });
    await rig.worker({ name, entry, consumer: writers });
  }
}

test("[R5][I14][I16] a member is killed with redriven messages in hand: another has each again, one attempt later", async () => {
  await using rig = await openRig();
  const dead = await allDead(rig, 40);
  const child = startSharer(rig, { HOLD_FROM: "20" });
  expect(await dead.letters.redriveGroup("sharers")).toBe(40);
  await eventually(
    "four are held, the others done",
    async () =>
      (await countOf(rig.sql, "sluice.redriven")) === 20 && (await countOf(rig.sql, "public.delivered")) === 24,
    40_000,
  );
  await child.kill();
  await rig.worker({ name: "next", entry: dead.entry, consumer: sharer(rig.sql, dead.topic, { member: 2 }) });
  await eventually("nothing waits", async () => (await countOf(rig.sql, "sluice.redriven")) === 0, 40_000);
  const seen = await deliveries(rig.sql);
  expect(seen.size).toBe(40);
  // Those four, and no other, came twice, and the second time was their second attempt.
  const twice = await rig.sql<{ count: number; attempts: string }[]>`
    select count(*)::integer, string_agg(attempts, ' ') as attempts
    from (select string_agg(attempt::text, ',' order by attempt) as attempts from public.delivered group by "offset" having count(*) > 1) d`;
  expect(twice[0]).toEqual({ count: 4, attempts: "1,2 1,2 1,2 1,2" });
  expect((await dead.letters.list()).letters).toEqual([]);
});

test("[R5][I16] a redriven message that kills its process dies again within its attempts", async () => {
  await using rig = await openRig();
  const { letters } = await allDead(rig, 1);
  await rig.sql`update sluice.dead_letter set value = '"poison"'`;
  await letters.redriveGroup("sharers");
  for (let starts = 0; starts < 6 && (await countOf(rig.sql, "sluice.redriven")) > 0; starts += 1) {
    const child = startSharer(rig);
    let hasEnded = false;
    child.exited.then(() => {
      hasEnded = true;
    });
    await eventually("it is over", async () => hasEnded || (await countOf(rig.sql, "sluice.redriven")) === 0, 40_000);
    await child.kill();
  }
  expect(await countOf(rig.sql, "public.delivered")).toBe(3);
  const [letter] = (await letters.list()).letters;
  expect([letter?.reason, letter?.attempts, letter?.redrives]).toEqual(["exhausted", 3, 1]);
});

/** Sessions are cut while letters are redriven; gives every moment's sentences of what is not exactly in one place. */
async function disturb(rig: Rig, count: number): Promise<string[]> {
  const dead = await allDead(rig, count);
  await twoWriters(rig, dead);
  const sentences: string[] = [];
  const working = (async () => {
    await dead.letters.redriveGroup("sharers", { rate: 200 });
    await eventually("nothing waits", async () => (await countOf(rig.sql, "sluice.redriven")) === 0, 40_000);
  })();
  let rounds = 0;
  await during(working, async () => {
    rounds += 1;
    const before = await countOf(rig.sql, "public.effect");
    await killBackends(rig.sql, ["one handlers", "sluice two", "two pool", "sluice one"][rounds % 4] ?? "");
    sentences.push(...(await inexact(rig.sql)));
    const goesOn = eventually("effects go on", async () => (await countOf(rig.sql, "public.effect")) > before, 40_000);
    await Promise.race([working, goesOn.catch(() => undefined)]);
  });
  sentences.push(...(await inexact(rig.sql)));
  return sentences;
}

test("[R5][I13][I15] members of a shared group are cut off: each redriven message takes effect once", async () => {
  await using rig = await openRig();
  expect(await disturb(rig, 120)).toEqual([]);
  expect(await countOf(rig.sql, "public.effect")).toBe(120);
});

test("[R5][I13] the check sees an effect that commits without its redriven message", async () => {
  await using rig = await openRig();
  await plant(rig.sql, "sluice.mark_redriven_done", [/delete from sluice\.redriven where[^;]*;/, "perform 1;"]);
  const dead = await allDead(rig, 6);
  await twoWriters(rig, dead);
  await dead.letters.redriveGroup("sharers");
  await eventually("each has an effect", async () => (await countOf(rig.sql, "public.effect")) >= 6);
  expect((await inexact(rig.sql)).length).toBeGreaterThan(0);
});

test("[R5][I15] the check sees a redriven message that is claimed by being deleted", async () => {
  await using rig = await openRig();
  await plant(rig.sql, "sluice.claim_redriven", [
    /update sluice\.redriven r set[\s\S]*?from due where/,
    "delete from sluice.redriven r using due where",
  ]);
  const dead = await allDead(rig, 6);
  await dead.letters.redriveGroup("sharers");
  await new SharedRedriven(rig.pool(), 15_000).claim(1, [1], 10);
  expect((await inexact(rig.sql)).length).toBe(6);
});

/** Which attempts a member's claims are, and another's after them, where the answers to the first two are lost. */
async function attemptsOfClaims(messages: ClaimedMessages, sql: postgres.Sql, table: string): Promise<number[]> {
  const attempts: number[] = [];
  for (const member of [1, 1, 2]) {
    const [taken] = await messages.claim(member, [1], 10);
    attempts.push(taken?.attempt ?? Number.NaN);
    expect(await messages.claim(member, [1], 10)).toEqual([]);
    await sql.unsafe(`update ${table} set lease_until = clock_timestamp() - interval '1 minute'`);
  }
  return attempts;
}

test("[R3][R5] a claim whose answer was lost counts no attempt when its member takes the message again", async () => {
  await using rig = await openRig();
  const { letters } = await allDead(rig, 1);
  await letters.redriveGroup("sharers");
  await rig.sql`insert into sluice.shared_retry (position, "offset", attempt, due, error) values (1, 0, 1, now(), 'no')`;
  const [redriven, retries] = [new SharedRedriven(rig.pool(), 15_000), new SharedRetries(rig.pool(), 15_000)];
  expect(await attemptsOfClaims(redriven, rig.sql, "sluice.redriven")).toEqual([1, 1, 2]);
  expect(await attemptsOfClaims(retries, rig.sql, "sluice.shared_retry")).toEqual([2, 2, 3]);
});

test("[R5][I12] whose claim was taken over neither settles, renews nor buries a redriven message", async () => {
  await using rig = await openRig();
  const { letters } = await allDead(rig, 1);
  await letters.redriveGroup("sharers");
  const redriven = new SharedRedriven(rig.pool(), 15_000);
  const [old] = await redriven.claim(1, [1], 10);
  // Neither member has a session, so the next takes it over.
  const [now] = await redriven.claim(2, [1], 10);
  if (old === undefined || now === undefined) throw new Error("nothing was claimed");
  expect([old.attempt, now.attempt]).toEqual([1, 2]);
  const letter = { ...old.message, reason: "exhausted", error: "no", attempts: 1 } as Parameters<
    SharedRedriven["bury"]
  >[1];
  await redriven.finish(old);
  await redriven.bury(old, letter);
  expect(await redriven.putOff(old, { delayMs: 0 })).toBe(false);
  expect([...(await redriven.renew([old, now]))]).toEqual([now.claim]);
  expect(await inexact(rig.sql)).toEqual([]);
  expect(await countOf(rig.sql, "sluice.redriven")).toBe(1);
  await redriven.bury(now, letter);
  expect((await letters.list()).letters.map(({ redrives }) => redrives)).toEqual([1]);
});
