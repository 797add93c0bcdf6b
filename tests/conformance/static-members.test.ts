import assert from "node:assert/strict";
import { test } from "node:test";
import { app, consumer, type RunningApp, topic } from "sluice";
import { z } from "zod";
import { eventually, Inbox, letTimePass, recordingLogger, type World, world } from "./harness.ts";

const jobs = topic("jobs", { schema: z.number(), partitions: 4 });
const chores = topic("chores", { schema: z.number(), partitions: 2 });

interface MemberOptions {
  readonly name: string;
  readonly member?: string;
  readonly lease?: `${number}s`;
  readonly inbox?: Inbox<string>;
  readonly also?: boolean;
}

function worker({ name, member, lease = "10s", inbox, also = false }: MemberOptions) {
  const handler = (c: { readonly value: number }) => inbox?.add(`${name} ${c.value}`);
  const consumers = [consumer(jobs, { group: "workers", handler })];
  if (also) consumers.push(consumer(chores, { group: "workers", handler }));
  return app({ name, consumers, lease, heartbeat: "200ms", ...(member === undefined ? {} : { member }) });
}

/** The partitions of jobs by the first word of who has them, once this many are held. */
function held(here: World, what: string, wanted: Readonly<Record<string, number>>) {
  return eventually(what, async () => {
    const rows = await here.sql<{ owner: string; partitions: number[]; epochs: number[] }[]>`
      select split_part(owner, ' ', 1) as owner, array_agg(partition order by partition) as partitions,
        array_agg(epoch::int order by partition) as epochs
      from sluice.assignments where topic = 'jobs' and held group by 1 order by 1`;
    const counts = Object.fromEntries(rows.map(({ owner, partitions }) => [owner, partitions.length]));
    return JSON.stringify(counts) === JSON.stringify(wanted) ? rows : undefined;
  });
}

async function closeAll(running: readonly RunningApp[]): Promise<void> {
  for (const one of running) await one.close();
}

test("[K6] a static member that restarts has the partitions it had, and nobody had them in between", async () => {
  await using here = await world();
  const other = await here.start(worker({ name: "other" }));
  let warehouse = await here.start(worker({ name: "before", member: "warehouse-1" }));
  try {
    const before = await held(here, "two each", { before: 2, other: 2 });
    await warehouse.close();
    const away = await here.sql`
      select a.static_id, a.held, m.live from sluice.assignments a join sluice.members m using (member) where a.owner like 'before %'`;
    assert.deepEqual(
      [...away],
      [0, 1].map(() => ({ static_id: "warehouse-1", held: false, live: false })),
    );
    // The others look at each other several times meanwhile.
    for (let look = 0; look < 5; look += 1) {
      await here.sql`select pg_notify('sluice', 'group ' || "group") from sluice.consumer_group`;
      await letTimePass(here.sql, 200);
    }
    assert.equal((await here.sql`select from sluice.assignments where held`).length, 2);
    warehouse = await here.start(worker({ name: "after", member: "warehouse-1" }));
    const after = await held(here, "as before", { after: 2, other: 2 });
    const [mine, theirs] = [before[0], before[1]];
    assert.deepEqual(after[0], {
      owner: "after",
      partitions: mine?.partitions,
      epochs: mine?.epochs.map((epoch) => epoch + 1),
    });
    assert.deepEqual(after[1], theirs);
    const moves = await here.sql`
      select split_part("from", ' ', 1) as from, split_part("to", ' ', 1) as to, why from sluice.moves order by at desc limit 2`;
    assert.deepEqual(
      [...moves],
      [0, 1].map(() => ({ from: "before", to: "after", why: "restart" })),
    );
  } finally {
    await closeAll([warehouse, other]);
  }
});

test("[K6] the partitions of a static member that does not come back go to the others when its lease is over", async () => {
  await using here = await world();
  const inbox = new Inbox<string>();
  await using other = await here.start(worker({ name: "other", inbox }));
  const warehouse = await here.start(worker({ name: "gone", member: "warehouse-1", lease: "1s" }));
  await held(here, "two each", { gone: 2, other: 2 });
  await warehouse.close();
  await held(here, "all at the other", { other: 4 });
  for (const partition of [0, 1, 2, 3]) await other.sluice.send(jobs, partition, { partition });
  assert.equal((await inbox.until(4)).length, 4);
  await eventually("it is listed no more", async () => {
    const rows = await here.sql`select from sluice.members where static_id = 'warehouse-1'`;
    return rows.length === 0 ? true : undefined;
  });
});

test("[K6][I12] of two processes with one name the older is fenced: it is told, consumes no more, and does not come back", async () => {
  await using here = await world();
  const inbox = new Inbox<string>();
  const logger = recordingLogger();
  const old = await here.start(worker({ name: "old", member: "warehouse-1", inbox }), { logger });
  const next = await here.start(worker({ name: "next", member: "warehouse-1", inbox }));
  try {
    const error = await old.fenced;
    assert.equal(error.code, "FENCED");
    assert.match(error.message, /next \d+ runs as member 'warehouse-1' by now/);
    await held(here, "all at the newer", { next: 4 });
    // It still sends; it only consumes no more.
    for (const partition of [0, 1, 2, 3]) await old.sluice.send(jobs, partition, { partition });
    assert.deepEqual([...(await inbox.until(4))].sort(), ["next 0", "next 1", "next 2", "next 3"]);
    assert.equal((await here.sql`select from sluice.members`).length, 1);
    assert.equal(logger.lines.filter(({ level }) => level === "error").length, 1);
  } finally {
    await closeAll([old, next]);
  }
});

test("[K6] a static member that loses its session goes on as itself: its partitions do not move", async () => {
  await using here = await world();
  const other = await here.start(worker({ name: "other" }));
  const warehouse = await here.start(worker({ name: "static", member: "warehouse-1" }));
  try {
    const before = await held(here, "two each", { other: 2, static: 2 });
    await here.sql`select pg_terminate_backend(backend_pid) from sluice.members where static_id = 'warehouse-1'`;
    const after = await eventually("it is back", async () => {
      const rows = await held(here, "two each", { other: 2, static: 2 });
      return rows[1]?.epochs[0] !== before[1]?.epochs[0] ? rows : undefined;
    });
    assert.deepEqual(after[0], before[0]);
    assert.deepEqual(after[1]?.partitions, before[1]?.partitions);
  } finally {
    await closeAll([warehouse, other]);
  }
});

test("[K6] a static member that comes back with other topics has no part in those it has left", async () => {
  await using here = await world();
  const before = await here.start(worker({ name: "before", member: "warehouse-1", also: true }));
  await before.close();
  await using other = await here.start(worker({ name: "other", also: true }));
  await using _after = await here.start(worker({ name: "after", member: "warehouse-1" }));
  await eventually("the topic that it left is the other's", async () => {
    const rows =
      await here.sql`select from sluice.assignments where topic = 'chores' and held and owner like 'other %'`;
    return rows.length === 2 ? true : undefined;
  });
  assert.ok(other);
});
