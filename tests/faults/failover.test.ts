import { expect, setDefaultTimeout, test } from "bun:test";
import { consumer } from "@sluice/contract";
import { eventually, startProxy } from "@sluice/testkit";
import postgres from "postgres";
import { openRig, plant, type Rig } from "../invariants/rig.ts";
import { effectsNotOnce, heldBy, makeEffectTable, movesTo, startMember } from "./member-rig.ts";

setDefaultTimeout(90_000);

/** Two processes with two partitions each, and messages in all four. The first one holds on to what comes from `HOLD` on. */
async function twoMembers(rig: Rig, environment: Readonly<Record<string, string>> = {}) {
  await makeEffectTable(rig);
  const { topic } = await rig.topic("letters", 4);
  const producer = await rig.producer();
  const victim = await startMember(rig, "victim", 4, environment);
  const other = await startMember(rig, "other", 2);
  await eventually("two each", async () => (await heldBy(rig, "victim")) === 2);
  let next = 0;
  const send = async (count: number) => {
    for (const from = next; next < from + count; next += 1)
      await producer.send(topic, String(next), { partition: next % 4 });
    return next;
  };
  return { victim, other, send };
}

test("[K5][K6] the partitions of a process that is killed go to another, with what it had in hand", async () => {
  await using rig = await openRig();
  const { victim, send } = await twoMembers(rig, { HOLD: "8" });
  const sent = await send(16);
  victim.signal("SIGKILL");
  await eventually("the other has everything", async () => (await heldBy(rig, "other")) === 4);
  expect(await effectsNotOnce(rig, sent)).toEqual([]);
  expect(await movesTo(rig, "other")).toEqual({ crash: 2, rebalance: 2 });
});

test("[K5][K6] the partitions of a process that closes go to another at once", async () => {
  await using rig = await openRig();
  const { victim, send } = await twoMembers(rig);
  const sent = await send(8);
  victim.signal("SIGTERM");
  expect(await victim.exited).toBe(0);
  await eventually("the other has everything", async () => (await heldBy(rig, "other")) === 4);
  expect(await effectsNotOnce(rig, await send(8))).toEqual([]);
  expect(sent).toBe(8);
  expect(await movesTo(rig, "other")).toEqual({ leave: 2, rebalance: 2 });
});

test("[K5][K6][I12][I13] a process that is frozen loses its partitions when its lease is over, and nothing that it had in hand takes effect when it thaws", async () => {
  await using rig = await openRig();
  const { victim, send } = await twoMembers(rig, { LEASE: "2000", HOLD: "8" });
  const sent = await send(16);
  await eventually("the frozen one holds transactions open", async () => {
    const open = await rig.sql`
      select from pg_stat_activity where datname = current_database() and application_name = 'victim handlers' and state = 'idle in transaction'`;
    return open.length === 2;
  });
  victim.signal("SIGSTOP");
  await eventually("the other has everything", async () => (await heldBy(rig, "other")) === 4);
  expect(await effectsNotOnce(rig, sent)).toEqual([]);
  expect(await movesTo(rig, "other")).toEqual({ freeze: 2, rebalance: 2 });
  victim.signal("SIGCONT");
  await eventually(
    "it has come back as a new member and has its share",
    async () => (await heldBy(rig, "victim")) === 2,
  );
  const [row] = await rig.sql<{ victims: number }[]>`
    select count(*)::integer as victims from public.effect where member = 'victim' and "offset" >= 2`;
  expect(row?.victims).toBe(0);
});

test("[K6] a half-open connection is noticed by both sides within the lease of fifteen seconds", async () => {
  await using rig = await openRig();
  const proxy = rig.use(await startProxy(rig.url));
  const { topic, entry } = await rig.topic("letters", 4);
  const reading = consumer(topic, { group: "readers", handler: () => undefined });
  const cutOff = await rig.worker({ name: "cut off", url: proxy.url, entry, consumer: reading, leaseMs: 15_000 });
  const other = await rig.worker({ name: "other", entry, consumer: reading });
  await eventually("two each", () => cutOff.owned.length === 2 && other.owned.length === 2);
  proxy.blackHole();
  const began = performance.now();
  await Promise.all([
    eventually("the server's side: the other has everything", () => other.owned.length === 4, 40_000),
    eventually("the client's side: it has given everything up", () => cutOff.owned.length === 0, 40_000),
  ]);
  // The lease, and what the others need to look: seconds more on a machine that is loaded, never another lease.
  expect(performance.now() - began).toBeLessThan(25_000);
  proxy.thaw();
  proxy.cutAll();
  await eventually("it has come back and has its share", () => cutOff.owned.length === 2, 40_000);
});

test("[K6] the partitions of a static process that is killed wait for it, and it has them when it comes back", async () => {
  await using rig = await openRig();
  await makeEffectTable(rig);
  await rig.topic("letters", 4);
  await startMember(rig, "other", 4);
  const victim = await startMember(rig, "victim", 2, { MEMBER: "m-1" });
  const before = await rig.sql`select partition from sluice.assignments where static_id = 'm-1' order by 1`;
  victim.signal("SIGKILL");
  await victim.exited;
  await eventually("its session is gone", async () => (await heldBy(rig, "victim")) === 0);
  await startMember(rig, "again", 2, { MEMBER: "m-1" });
  expect(await rig.sql`select partition from sluice.assignments where static_id = 'm-1' order by 1`).toEqual(before);
  await eventually("both came back to it", async () => (await movesTo(rig, "again"))["restart"] === 2);
  expect(await movesTo(rig, "other")).toEqual({ start: 4 });
});

test("[K6] the check sees a static member that nobody awaits", async () => {
  await using rig = await openRig();
  await plant(rig.sql, "sluice.is_awaited", [/RETURN [\s\S]*/, "RETURN false"]);
  await makeEffectTable(rig);
  await rig.topic("letters", 4);
  await startMember(rig, "other", 4);
  const victim = await startMember(rig, "victim", 2, { MEMBER: "m-1" });
  victim.signal("SIGKILL");
  await eventually("others have what it had", async () => (await heldBy(rig, "other")) === 4);
});

test("[K6][I12] a static process is ended when another starts with its name", async () => {
  await using rig = await openRig();
  await makeEffectTable(rig);
  await rig.topic("letters", 4);
  const old = await startMember(rig, "old", 4, { MEMBER: "m-1" });
  await startMember(rig, "next", 4, { MEMBER: "m-1" });
  expect(await old.exited).toBe(75);
  expect(await heldBy(rig, "next")).toBe(4);
});

test("[K5][I12] a takeover ends who holds it up in silence between its mark and its commit, and what that did is undone", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 1);
  await rig.sql`insert into sluice.consumer_group (name) values ('readers')`;
  await rig.sql`insert into sluice.position ("group", topic, partition, next_offset) values (1, ${entry.number}, 0, 0)`;
  const [position] = await rig.sql<{ position: number; epoch: number }[]>`
    select p.position, t.epoch::integer from sluice.position p, sluice.own_position(p.position, 1, 0) t`;
  const { position: number = 0, epoch = 0 } = position ?? {};
  const silent = postgres(rig.url, { max: 1, onnotice: () => undefined });
  await silent`begin`;
  expect((await silent`select sluice.mark_done(${number}, ${epoch}, 0) as outcome`)[0]?.["outcome"]).toBe("done");
  const [taken] = await rig.sql`select done_above as done from sluice.own_position(${number}, 2, 0)`;
  expect(taken?.["done"]).toBe("{}");
  await silent.end({ timeout: 0 });
  expect(await rig.sql`select from sluice.done`).toHaveLength(0);
  expect((await rig.sql`select epoch::integer from sluice.position`)[0]?.["epoch"]).toBe(epoch + 1);
});
