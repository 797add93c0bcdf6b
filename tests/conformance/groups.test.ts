import assert from "node:assert/strict";
import { test } from "node:test";
import { app, consumer, type RunningApp, topic } from "sluice";
import { z } from "zod";
import { count, eventually, Inbox, type World, world } from "./harness.ts";

const jobs = topic("jobs", { schema: z.object({ number: z.number() }), partitions: 2 });

interface Handled {
  readonly member: string;
  readonly partition: number;
  readonly number: number;
}

function member(name: string, inbox: Inbox<Handled>) {
  const working = consumer(jobs, {
    group: "workers",
    handler: (c) => inbox.add({ member: name, partition: c.partition, number: c.value.number }),
  });
  return app({ name, consumers: [working] });
}

/** Resolves with the members once each partition has an owner and this many members are listed. */
function settled(here: World, members: number) {
  return eventually(`${members} members, every partition owned`, async () => {
    const rows = await here.sql<{ name: string; live: boolean; partitions: number; subscriptions: string[] }[]>`
      select name, live, partitions::int, subscriptions from sluice.members order by name`;
    const [owned] = await here.sql<{ partitions: number }[]>`
      select count(*)::int as partitions from sluice.lag l join sluice.members m on m.name = l.owner and m.live`;
    return rows.length === members && owned?.partitions === 2 ? rows : undefined;
  });
}

test("[K5] a partition has one owner in a group, and a message one handler", async () => {
  await using here = await world();
  const inbox = new Inbox<Handled>();
  await using first = await here.start(member("first", inbox));
  await using second = await here.start(member("second", inbox));
  await eventually("each owns one", async () => {
    const rows = await settled(here, 2);
    return rows.every((row) => row.partitions === 1) ? true : undefined;
  });
  await first.sluice.sendBatch(
    jobs,
    count(40).map((number) => ({ number })),
    { partition: 0 },
  );
  await second.sluice.sendBatch(
    jobs,
    count(40).map((number) => ({ number: 40 + number })),
    { partition: 1 },
  );
  const handled = await inbox.until(80);
  assert.equal(new Set(handled.map(({ number }) => number)).size, 80);
  for (const partition of [0, 1]) {
    const owners = new Set(handled.filter((seen) => seen.partition === partition).map((seen) => seen.member));
    assert.equal(owners.size, 1, `partition ${partition} was handled by ${[...owners].join()}`);
  }
  assert.equal(new Set(handled.map((seen) => seen.member)).size, 2);
});

test("[K5] more members than partitions leaves some idle, and sluice.members says so", async () => {
  await using here = await world();
  const inbox = new Inbox<Handled>();
  const running: RunningApp[] = [];
  try {
    for (const name of ["a", "b", "c"]) running.push(await here.start(member(name, inbox)));
    const members = await eventually("two work and one is idle", async () => {
      const rows = await settled(here, 3);
      return rows.filter((row) => row.partitions === 0).length === 1 ? rows : undefined;
    });
    assert.deepEqual(members.map((row) => row.partitions).sort(), [0, 1, 1]);
    for (const row of members) {
      assert.equal(row.live, true);
      assert.deepEqual(row.subscriptions, ["workers ← jobs"]);
    }
    const idle = running[members.findIndex((row) => row.partitions === 0)] as RunningApp;
    await idle.sluice.sendBatch(
      jobs,
      count(20).map((number) => ({ number })),
    );
    assert.equal((await inbox.until(20)).length, 20);
  } finally {
    for (const one of running) await one.close();
  }
  assert.equal(inbox.items.length, 20);
});

test("[K5] when an owner leaves, another member takes its partitions and goes on where it stopped", async () => {
  await using here = await world();
  const inbox = new Inbox<Handled>();
  const first = await here.start(member("first", inbox));
  await using second = await here.start(member("second", inbox));
  await settled(here, 2);
  await second.sluice.sendBatch(
    jobs,
    count(20).map((number) => ({ number })),
  );
  await inbox.until(20);
  assert.equal(await first.close(), true);
  await eventually("the one that is left owns both", async () => {
    const rows = await settled(here, 1);
    return rows[0]?.partitions === 2 ? true : undefined;
  });
  await second.sluice.sendBatch(
    jobs,
    count(20).map((number) => ({ number: 20 + number })),
  );
  const handled = await inbox.until(40);
  assert.deepEqual(
    handled.map(({ number }) => number).sort((left, right) => left - right),
    count(40),
  );
});
