import assert from "node:assert/strict";
import { test } from "node:test";
import {
  app,
  consumer,
  fixed,
  isSluiceError,
  outgoing,
  type RunningApp,
  schedule,
  stage,
  type Topic,
  topic,
} from "sluice";
import { z } from "zod";
import { caughtUp, count, eventually, Inbox, type World, world } from "./harness.ts";

const schema = z.object({ name: z.string(), urgency: z.number() });
type Job = z.infer<typeof schema>;

const partitions = 8;
const jobs = topic("jobs", {
  schema,
  partitions,
  priorities: 3,
  key: ({ name }) => name,
  priority: ({ urgency }) => urgency,
});

const low = (number: number): Job => ({ name: `low ${number}`, urgency: 0 });

const isRefused = (path: string) => (error: unknown) =>
  isSluiceError(error, "INVALID_OPTIONS") && error.problems.some((problem) => problem.path === path);

/** What was handed over between the append of an urgent message and its delivery, several times over a backlog. */
async function overtaken(here: World, backlog: number, prefetch: number): Promise<readonly number[]> {
  const inbox = new Inbox<Job>();
  await using sender = await here.connect();
  for (let sent = 0; sent < backlog; sent += 10_000) {
    await sender.sendBatch(jobs, count(Math.min(10_000, backlog - sent)).map(low));
  }
  const work = consumer(jobs, {
    group: "work",
    mode: "shared",
    concurrency: 4,
    prefetch,
    handler: async (c) => {
      inbox.add(c.value);
      await new Promise<void>((resolve) => setImmediate(resolve));
    },
  });
  await using _running = await here.start(app({ consumers: [work] }));
  const waited: number[] = [];
  for (const number of count(10)) {
    await inbox.until(inbox.items.length + 100);
    const name = `urgent ${number}`;
    await sender.send(jobs, { name, urgency: 1 + (number % 2) });
    const before = inbox.items.length;
    const at = () => inbox.items.findIndex((job) => job.name === name);
    while (at() < 0) await inbox.until(inbox.items.length + 1);
    assert.ok(inbox.items.length < backlog, "the backlog was over before the urgent one came");
    waited.push(Math.max(0, at() - before));
  }
  return waited;
}

test("[Q4] shared: an urgent message waits for what is in hand, however long the backlog", async () => {
  await using here = await world();
  const waited = await overtaken(here, 20_000, 48);
  assert.ok(Math.max(...waited) <= 48, `after so many others: ${waited}`);
});

test("the check sees a lease that does not ask for urgency", async () => {
  await using here = await world();
  await using sluice = await here.connect({ topics: [jobs] });
  await sluice.flush();
  // Whoever is asked for least comes first.
  await here.sql.unsafe(`
    alter function sluice.ready_positions(integer[], integer) rename to ready_positions_before;
    create function sluice.ready_positions(p_positions integer[], p_most integer) returns setof integer language sql stable as $$
      select sluice.ready_positions_before(
        (select array_agg(p order by n desc) from unnest(p_positions) with ordinality u(p, n)), p_most) $$`);
  await assert.rejects(async () => {
    const waited = await overtaken(here, 2_000, 48);
    assert.ok(Math.max(...waited) <= 48, `after so many others: ${waited}`);
  }, /after so many others|the backlog was over/);
});

test("[Q4] keyed: urgent messages that wait go before any other, in order per key, and never two of a key at once", async () => {
  await using here = await world();
  const steps = topic("steps", { schema, partitions: 1, priorities: 2, key: ({ name }) => name });
  const begun: { name: string; urgency: number; offset: number }[] = [];
  const atWork = new Set<string>();
  const turns: (() => void)[] = [];
  let isOpen = false;
  const seen = new Inbox<number>();
  const work = consumer(steps, {
    group: "work",
    mode: "keyed",
    concurrency: 4,
    handler: async (c) => {
      begun.push({ ...c.value, offset: c.offset });
      assert.ok(!atWork.has(c.value.name), "two of a key at once");
      atWork.add(c.value.name);
      assert.ok(atWork.size <= 4, "more than four at once");
      if (isOpen) await new Promise<void>((resolve) => setImmediate(resolve));
      else await new Promise<void>((resolve) => turns.push(resolve));
      atWork.delete(c.value.name);
    },
  });
  // Another group hears of the urgent ones at about the same time.
  const watch = consumer(steps, { group: "watch", mode: "keyed", handler: (c) => seen.add(c.value.urgency) });
  await using running = await here.start(app({ consumers: [work, watch] }));
  const of = (urgency: number, many: number) => count(many).map((n) => ({ name: `key ${n % 10}`, urgency }));
  await running.sluice.sendBatch(steps, of(0, 400));
  await eventually("four are at work", async () => (begun.length === 4 ? true : undefined));
  await running.sluice.sendBatch(steps, of(1, 100), { priority: 1 });
  await seen.until(500);
  // One after the other ends, until the first urgent one has come.
  await eventually("an urgent one begins", async () => {
    if (begun.at(-1)?.urgency === 1) return true;
    turns.shift()?.();
    return undefined;
  });
  isOpen = true;
  for (const turn of turns) turn();
  await caughtUp(here.sql, "work");
  const [first, last] = [
    begun.findIndex(({ urgency }) => urgency === 1),
    begun.findLastIndex(({ urgency }) => urgency === 1),
  ];
  assert.ok(first < 50, `the first urgent one came after ${first} others`);
  assert.ok(last - first < 110, `between the first and the last urgent one there were ${last - first - 99} others`);
  for (const urgency of [0, 1]) {
    for (const name of new Set(begun.map((job) => job.name))) {
      const offsets = begun.filter((job) => job.name === name && job.urgency === urgency).map(({ offset }) => offset);
      assert.deepEqual(
        offsets,
        offsets.toSorted((a, b) => a - b),
      );
    }
  }
  assert.equal(begun.length, 500);
});

test("[Q4] every way of sending takes a priority, and the message keeps it: SQL, outbox, delay, stages, handlers, schedules, half messages", async () => {
  await using here = await world();
  const inbox = new Inbox<[name: string, partition: number]>();
  const out = topic("out", { schema, partitions: 2, priorities: 2, key: ({ name }) => name });
  const source = topic("source", { schema, partitions: 1, priorities: 2 });
  const done = (t: Topic<Job>) =>
    consumer(t, { group: "seen", mode: "keyed", handler: (c) => inbox.add([c.value.name, c.partition]) });
  const relay = stage({
    from: source,
    to: out,
    group: "relay",
    mode: "keyed",
    map: (c) => outgoing(out, { ...c.value, name: `staged ${c.value.name}` }, { priority: 1 }),
  });
  const passOn = consumer(source, {
    group: "pass on",
    mode: "keyed",
    handler: (c) => c.send(out, { ...c.value, name: `passed ${c.value.name}` }, { priority: 1 }),
  });
  const tick = schedule(jobs, { name: "tick", cron: "0 0 1 1 *", value: { name: "ticked", urgency: 2 } });
  await using running = await here.start(
    app({ consumers: [done(jobs), done(out), passOn], stages: [relay], schedules: [tick] }),
  );
  const { sluice } = running;
  const plain = await sluice.send(jobs, { name: "plain", urgency: 0 }, { partition: 5, priority: 2 });
  assert.equal(plain.partition, 2 * partitions + 5);
  assert.equal((await sluice.send(jobs, { name: "said by the value", urgency: 1 }, { partition: 0 })).partition, 8);
  await here.sql.begin(async (tx) => {
    const queued = await sluice.send(jobs, { name: "outbox", urgency: 1 }, { tx });
    assert.equal(Math.floor(queued.partition / partitions), 1);
    await tx`select sluice.send('jobs', '{"name":"from sql","urgency":0}', key => 'k', priority => 2)`;
    await tx`select sluice.send('jobs', '{"name":"later from sql","urgency":0}', delay => '10 milliseconds', priority => 1)`;
    await tx`select sluice.run_schedule('tick')`;
  });
  await sluice.send(jobs, { name: "later", urgency: 2 }, { delay: "10ms" });
  await (await sluice.prepare(jobs, { name: "half", urgency: 2 }, { checkBack: "nobody" })).commit();
  const [half] = await here.sql<{ prepare: string }[]>`
    select sluice.prepare('jobs', '{"name":"half from sql","urgency":0}', check_back => 'nobody', priority => 1)`;
  await here.sql`select * from sluice.commit_half(${half?.prepare ?? ""}::bigint)`;
  await sluice.send(source, { name: "one", urgency: 0 });
  const arrived = new Map(await inbox.until(11));
  const priorityOf = (name: string, base: number) => Math.floor((arrived.get(name) ?? -1) / base);
  assert.deepEqual(
    [...arrived.keys()].toSorted().map((name) => [name, priorityOf(name, / one$/.test(name) ? 2 : partitions)]),
    [
      ["from sql", 2],
      ["half", 2],
      ["half from sql", 1],
      ["later", 2],
      ["later from sql", 1],
      ["outbox", 1],
      ["passed one", 1],
      ["plain", 2],
      ["said by the value", 1],
      ["staged one", 1],
      ["ticked", 2],
    ],
  );
  const rows =
    await here.sql`select value->>'name' as name, priority, partition from topics.jobs where priority = 2 order by 1`;
  assert.deepEqual(
    rows.map(({ name }) => name),
    ["from sql", "half", "later", "plain", "ticked"],
  );
  const [lanes] = await here.sql`
    select array_agg(priority order by partition)::text as priorities from sluice.partitions where topic = 'out'`;
  assert.equal(lanes?.["priorities"], "{0,0,1,1}");
  const [lag] = await here.sql`
    select array_agg(priority order by partition)::text as priorities from sluice.lag where topic = 'out' and "group" = 'seen'`;
  assert.equal(lag?.["priorities"], "{0,0,1,1}");
});

test("[Q4][Q10] sluice.send_once takes a priority as sluice.send does, and calls without one go on", async () => {
  await using here = await world();
  const once = topic("once", { schema, partitions: 2, priorities: 3, deduplicate: { window: "5m" } });
  const inbox = new Inbox<[name: string, priority: number]>();
  const seen = consumer(once, {
    group: "seen",
    mode: "keyed",
    handler: (c) => inbox.add([c.value.name, Math.floor(c.partition / 2)]),
  });
  await using _running = await here.start(app({ consumers: [seen] }));
  await here.sql.begin(async (tx) => {
    await tx`select sluice.send_once('once', message_id => 'a', value => '{"name":"urgent","urgency":0}', priority => 2)`;
    await tx`select sluice.send_once('once', message_id => 'a', value => '{"name":"again","urgency":0}', priority => 1)`;
    await tx`select sluice.send_once('once', 'b', '{"name":"by place","urgency":0}', null, null, 1)`;
    await tx`select sluice.send_once('once', 'c', '{"name":"placed","urgency":0}', 'k', '{"from":"sql"}', null, 1)`;
    await tx`select sluice.send_once('once', message_id => 'd', value => '{"name":"plain","urgency":0}')`;
  });
  assert.deepEqual([...(await inbox.until(4))].toSorted(), [
    ["by place", 0],
    ["placed", 1],
    ["plain", 0],
    ["urgent", 2],
  ]);
  await assert.rejects(
    here.sql`select sluice.send_once('once', message_id => 'e', value => '{"name":"no","urgency":0}', priority => 3)`,
    { code: "22023" },
  );
});

test("[Q4] a key has one partition whatever the priority, the same for SQL and for producers", async () => {
  await using here = await world();
  await using sluice = await here.connect({ topics: [jobs] });
  for (const number of count(30)) {
    const name = `key ${number}`;
    const { partition } = await sluice.send(jobs, { name, urgency: 0 });
    const urgent = await sluice.send(jobs, { name, urgency: 2 });
    assert.equal(urgent.partition, partition + 2 * partitions);
    const [row] = await here.sql<{ lane: number }[]>`
      select sluice.lane_of(t, ${name}, null, 1) as lane from sluice.topic t where t.name = 'jobs'`;
    assert.equal(row?.lane, partition + partitions);
  }
});

test("[Q4][R4] what fails keeps its priority, as a dead letter and when it is redriven", async () => {
  await using here = await world();
  let fails = true;
  const inbox = new Inbox<number>();
  const work = consumer(jobs, {
    group: "work",
    mode: "keyed",
    retry: { attempts: 2, backoff: fixed("1ms") },
    handler: (c) => {
      if (fails) throw new Error("not yet");
      inbox.add(c.partition);
    },
  });
  await using running = await here.start(app({ consumers: [work] }));
  await running.sluice.send(jobs, { name: "a", urgency: 2 }, { partition: 3 });
  const letter = await eventually("there is a dead letter", async () => {
    const [row] = await here.sql<{ dead_letter: string; partition: number }[]>`
      select dead_letter, partition from sluice.dead_letters where "group" = 'work'`;
    return row;
  });
  assert.equal(letter.partition, 2 * partitions + 3);
  fails = false;
  await here.sql`select * from sluice.redrive(array[${letter.dead_letter}]::bigint[])`;
  assert.deepEqual(await inbox.until(1), [2 * partitions + 3]);
});

test("[Q4][K6] all lanes of a partition are one member's", async () => {
  await using here = await world();
  const work = consumer(jobs, { group: "work", mode: "keyed", handler: () => {} });
  const start = (name: string): Promise<RunningApp> => here.start(app({ name, consumers: [work] }));
  await using _one = await start("one");
  await using _two = await start("two");
  await using _three = await start("three");
  await eventually("each partition is one member's and each member has some", async () => {
    const owners = await here.sql<{ base: number; owners: string[]; lanes: number }[]>`
      select partition % ${partitions}::int as base, array_agg(distinct owner) as owners, count(owner)::int as lanes
      from sluice.lag where "group" = 'work' group by 1`;
    const apart = owners.every((one) => one.owners.length === 1 && one.lanes === 3);
    const loads = new Map(owners.map((one) => [one.owners[0], owners.filter((o) => o.owners[0] === one.owners[0])]));
    return apart && loads.size === 3 && [...loads.values()].every((held) => held.length <= 3) ? true : undefined;
  });
});

test("[Q4] broadcast: each lane is read by every member, in its order", async () => {
  await using here = await world();
  const inbox = new Inbox<string>();
  const all = consumer(jobs, {
    group: "all",
    mode: "broadcast",
    start: "earliest",
    handler: (c) => inbox.add(c.value.name),
  });
  await using running = await here.start(app({ consumers: [all] }));
  for (const urgency of [0, 1, 2]) await running.sluice.send(jobs, { name: `${urgency}`, urgency });
  assert.deepEqual((await inbox.until(3)).toSorted(), ["0", "1", "2"]);
});

test("[Q4] a priority that the topic does not have is refused, and nothing is written", async () => {
  await using here = await world();
  const plain = topic("plain", { schema });
  await using sluice = await here.connect({ topics: [jobs, plain] });
  const job = { name: "a", urgency: 0 };
  for (const priority of [-1, 3, 0.5, Number.NaN, "1" as unknown as number]) {
    await assert.rejects(sluice.send(jobs, job, { priority }), isRefused("priority"));
  }
  await assert.rejects(sluice.send(jobs, { ...job, urgency: 7 }), isRefused("priority"));
  await assert.rejects(sluice.send(jobs, job, { priority: 9, delay: "1s" }), isRefused("priority"));
  await assert.rejects(sluice.send(plain, job, { priority: 1 }), isRefused("priority"));
  assert.equal((await sluice.send(plain, job, { priority: 0 })).offset, 0);
  await assert.rejects(sluice.send(jobs, job, { partition: partitions }), (error) =>
    isSluiceError(error, "INVALID_OPTIONS"),
  );
  assert.throws(() => schedule(jobs, { name: "s", every: "1m", value: job, priority: 3 }), isRefused("priority"));
  await assert.rejects(here.sql`select sluice.send('jobs', '{"name":"a","urgency":0}', priority => 3)`, {
    code: "22023",
  });
  await assert.rejects(here.sql`select sluice.send('jobs', '{"name":"a","urgency":0}', partition => 8)`, {
    code: "22023",
  });
  const [row] =
    await here.sql`select (select count(*) from topics.jobs)::int + (select count(*) from sluice.outbox)::int as n`;
  assert.equal(row?.["n"], 0);
});

test("[Q4] a topic gets more priorities and keeps what it has, and groups miss nothing of the new ones", async () => {
  await using here = await world();
  const before = topic("growing", { schema, partitions: 2, key: ({ name }) => name });
  const after = topic("growing", { schema, partitions: 2, key: ({ name }) => name, priorities: 3 });
  const inbox = new Inbox<string>();
  const work = (t: Topic<Job>, mode: "keyed" | "shared") =>
    consumer(t, { group: mode, mode, start: "latest", handler: (c) => inbox.add(`${mode} ${c.value.name}`) });
  {
    await using running = await here.start(app({ consumers: [work(before, "keyed"), work(before, "shared")] }));
    await running.sluice.send(before, { name: "a", urgency: 0 });
    await inbox.until(2);
    await caughtUp(here.sql, "keyed");
    // Whoever consumes it would not look into the new lanes.
    await assert.rejects(here.connect({ topics: [after] }), (error) => isSluiceError(error, "INVALID_OPTIONS"));
    await assert.rejects(here.sql`select sluice.raise_priorities('growing', 2)`, { code: "55006" });
  }
  await assert.rejects(here.connect({ topics: [after], createTopics: false }), (error) =>
    isSluiceError(error, "INVALID_OPTIONS"),
  );
  const roll = () => here.sql`select sluice.roll_segment(number) from sluice.topics where name = 'growing'`;
  await roll();
  // A producer that knows nothing of it goes on.
  await using old = await here.connect({ topics: [before] });
  const [, raised] = await Promise.all(
    [here.connect({ topics: [after] }), here.connect({ topics: [after] })].map(async (connecting) => {
      await using sluice = await connecting;
      return await sluice.send(after, { name: "c", urgency: 0 }, { priority: 2 });
    }),
  );
  assert.ok((raised?.partition ?? 0) >= 4);
  await roll();
  await old.send(before, { name: "b", urgency: 0 });
  await using running = await here.start(app({ consumers: [work(after, "keyed"), work(after, "shared")] }));
  const names = (await inbox.until(8)).toSorted();
  const expected = ["a", "b", "c", "c"].flatMap((name) => [`keyed ${name}`, `shared ${name}`]).toSorted();
  assert.deepEqual(names, expected);
  // Fewer in a declaration take nothing away.
  await old.send(
    topic("growing", { schema, partitions: 2, priorities: 2 }),
    { name: "d", urgency: 0 },
    { priority: 1 },
  );
  await inbox.until(10);
  const [row] = await here.sql`select partitions, priorities from sluice.topics where name = 'growing'`;
  assert.deepEqual({ ...row }, { partitions: 6, priorities: 3 });
  const inOrder = consumer(before, { group: "in order", handler: () => {} });
  await assert.rejects(here.start(app({ consumers: [inOrder] })), (error) => isSluiceError(error, "INVALID_OPTIONS"));
  await running.close();
});
