import assert from "node:assert/strict";
import { test } from "node:test";
import { app, consumer, isSluiceError, type RunningApp, topic } from "sluice";
import { z } from "zod";
import { caughtUp, count, eventually, Inbox, type World, world } from "./harness.ts";

const tasks = topic("tasks", { schema: z.number(), partitions: 4, key: String });

interface Handled {
  readonly by: string;
  readonly value: number;
}

function worker(name: string, inbox: Inbox<Handled>, mode: "ordered" | "keyed" | "shared" = "keyed") {
  return app({
    name,
    consumers: [consumer(tasks, { group: "do", mode, handler: (c) => inbox.add({ by: name, value: c.value }) })],
  });
}

async function memberOf(here: World, name: string): Promise<number> {
  const [row] = await here.sql<
    { member: number }[]
  >`select member from sluice.members where live and name like ${`${name}%`}`;
  return row?.member ?? Number.NaN;
}

/** How many partitions each live member owns, by name. */
function owned(here: World, expected: Readonly<Record<string, number>>): Promise<true> {
  return eventually(`partitions: ${JSON.stringify(expected)}`, async () => {
    const rows = await here.sql<{ name: string; partitions: number }[]>`
      select split_part(name, ' ', 1) as name, partitions::int from sluice.members where live`;
    const found = Object.fromEntries(rows.map(({ name, partitions }) => [name, partitions]));
    return Object.entries(expected).every(([name, partitions]) => found[name] === partitions)
      ? (true as const)
      : undefined;
  });
}

async function sendAll(
  running: RunningApp,
  inbox: Inbox<Handled>,
  values: readonly number[],
): Promise<readonly Handled[]> {
  const before = inbox.items.length;
  await running.sluice.sendBatch(tasks, values);
  return (await inbox.until(before + values.length)).slice(before);
}

test("[K8] a paused member gives its partitions back and the others take over; once resumed it takes its share again", async () => {
  await using here = await world();
  const inbox = new Inbox<Handled>();
  await using _a = await here.start(worker("a", inbox));
  await using b = await here.start(worker("b", inbox));
  await owned(here, { a: 2, b: 2 });
  const { members } = b.sluice;
  const member = await memberOf(here, "a");
  assert.equal(await members.pause(member, { reason: "a rolling deployment" }), true);
  assert.equal(await members.pause(member), false);
  await owned(here, { a: 0, b: 4 });
  const handled = await sendAll(b, inbox, count(100));
  assert.deepEqual([...new Set(handled.map(({ by }) => by))], ["b"]);
  const status = (await members.list()).find((one) => one.member === member);
  assert.deepEqual([status?.live, status?.partitions, status?.paused?.reason], [true, 0, "a rolling deployment"]);
  const [row] = await here.sql`select paused_since, paused_by from sluice.members where member = ${member}`;
  assert.ok(row?.["paused_since"] instanceof Date);
  assert.equal(await members.resume(member), true);
  assert.equal(await members.resume(member), false);
  await owned(here, { a: 2, b: 2 });
  const acts = await here.sql<
    { act: string; subject: string }[]
  >`select act, subject from sluice.audits order by audit`;
  assert.deepEqual(
    acts.map(({ act, subject }) => [act, subject]),
    [
      ["pause member", `member ${member}`],
      ["resume member", `member ${member}`],
    ],
  );
});

/** Whether, of two members, one that is paused has nothing to do from some time on. */
async function leavesTheWork(here: World): Promise<boolean> {
  const inbox = new Inbox<Handled>();
  await using _a = await here.start(worker("a", inbox));
  await using b = await here.start(worker("b", inbox));
  await owned(here, { a: 2, b: 2 });
  await b.sluice.members.pause(await memberOf(here, "a"));
  for (const _round of count(200)) {
    if ((await sendAll(b, inbox, count(20))).every(({ by }) => by === "b")) return true;
  }
  return false;
}

test("[K8] a paused member leaves the work to the others, and the check sees one that does not", async () => {
  {
    await using here = await world();
    assert.equal(await leavesTheWork(here), true);
  }
  await using here = await world();
  await here.sql.unsafe(`create or replace function sluice.pause_member(member integer, reason text default null) returns boolean
    language sql return true`);
  assert.equal(await leavesTheWork(here), false);
});

test("[K8] when all members are paused nothing runs; a member that comes has all, and one that ends is gone with its pause", async () => {
  await using here = await world();
  const inbox = new Inbox<Handled>();
  const a = await here.start(worker("a", inbox, "ordered"));
  const member = await memberOf(here, "a");
  await here.sql`select sluice.pause_member(${member}, reason => 'why')`;
  await owned(here, { a: 0 });
  await a.sluice.sendBatch(tasks, count(10));
  await using _b = await here.start(worker("b", inbox, "ordered"));
  assert.deepEqual(new Set((await inbox.until(10)).map(({ by }) => by)), new Set(["b"]));
  assert.equal(await a.close(), true);
  const left = await here.sql`select from sluice.members where paused_since is not null`;
  assert.equal(left.length, 0);
});

test("[K8][K4] a paused member of a shared group leases nothing", async () => {
  await using here = await world();
  const inbox = new Inbox<Handled>();
  await using _a = await here.start(worker("a", inbox, "shared"));
  await using b = await here.start(worker("b", inbox, "shared"));
  const member = await memberOf(here, "a");
  await sendAll(b, inbox, count(200));
  await b.sluice.members.pause(member);
  await eventually("it has given its leases back", async () => {
    const logged = await here.sql`select from sluice.pending where member like 'a%'`;
    return logged.length === 0 ? true : undefined;
  });
  await caughtUp(here.sql, "do");
  // The pause is heard of within half a second; from then on the other has everything.
  await eventually("the other one has a whole round", async () => {
    const handled = await sendAll(b, inbox, count(50));
    return handled.every(({ by }) => by === "b") ? true : undefined;
  });
  for (const _round of count(5)) assert.ok((await sendAll(b, inbox, count(50))).every(({ by }) => by === "b"));
  await b.sluice.members.resume(member);
  await eventually("it takes part again", async () => {
    const handled = await sendAll(b, inbox, count(50));
    return handled.some(({ by }) => by === "a") ? true : undefined;
  });
});

test("[K8] a process that is paused stays so when its session is lost and it is another member", async () => {
  await using here = await world();
  const inbox = new Inbox<Handled>();
  await using a = await here.start(worker("a", inbox));
  const member = await memberOf(here, "a");
  await a.sluice.members.pause(member, { reason: "why" });
  await owned(here, { a: 0 });
  await here.sql`select pg_terminate_backend(backend_pid) from sluice.members where member = ${member}`;
  const status = await eventually("it is another member", async () =>
    (await a.sluice.members.list()).find((one) => one.live && one.member !== member && one.paused !== undefined),
  );
  assert.equal(status.paused?.reason, "why");
  await a.sluice.send(tasks, 1);
  await a.sluice.members.resume(status.member);
  await inbox.until(1);
});

test("pausing a member that is none, or cannot be, is refused", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  await assert.rejects(sluice.members.pause(4_711), (error) => isSluiceError(error, "UNKNOWN_MEMBER"));
  await assert.rejects(sluice.members.resume(4_711), (error) => isSluiceError(error, "UNKNOWN_MEMBER"));
  await assert.rejects(sluice.members.pause(1.5), (error) => isSluiceError(error, "INVALID_OPTIONS"));
  await assert.rejects(sluice.members.pause(1, { reason: "x".repeat(1_001) }), (error) =>
    isSluiceError(error, "INVALID_OPTIONS"),
  );
});
