import assert from "node:assert/strict";
import { test } from "node:test";
import { app, type ConsumerOptions, consumer, isSluiceError } from "sluice";
import { count, eventually, Inbox, type World, world } from "./harness.ts";
import { inForce, jobs, looksAtTheClock, monday, office, working, worldAt } from "./shifted-clock.ts";

test("[K8] a shared group leases nothing out of its hours, what is in hand stays its holder's, and nobody counts it as an attempt", async () => {
  await using here = await worldAt(monday("17:00"));
  const inbox = new Inbox<readonly [value: number, attempt: number]>();
  const [begun, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  await using running = await here.start(
    app({
      ...working({
        mode: "shared",
        concurrency: 4,
        hours: { ...office, windows: office.windows.map((window) => ({ ...window, concurrency: 1 })) },
        handler: async (c) => {
          begun.resolve();
          await goOn.promise;
          inbox.add([c.value, c.attempt]);
        },
      }),
      lease: "1s",
      heartbeat: "200ms",
    }),
  );
  await running.sluice.sendBatch(jobs, count(3), { partition: 0 });
  await begun.promise;
  await here.set(monday("18:00"));
  await inForce(here, null);
  goOn.resolve();
  await inbox.until(1);
  const leased = async () =>
    (await here.sql`select lease::int, deliveries from sluice.pending order by 1`).map((row) => ({ ...row }));
  await running.sluice.sendBatch(jobs, count(20), { partition: 1 });
  const before = await eventually("what is done is written", async () => {
    const rows = await leased();
    return rows.length < 3 ? rows : undefined;
  });
  // Longer than a lease that nobody renews.
  await looksAtTheClock(here, 4);
  const held = before.filter(({ deliveries }) => deliveries === 0);
  assert.deepEqual(await leased(), held);
  assert.equal(inbox.items.length, 1);
  await here.set("2026-06-09T08:00:00+02:00");
  const all = await inbox.until(23);
  assert.deepEqual(new Set(all.map(([, attempt]) => attempt)), new Set([1]));
  assert.equal(all.length, 23);
});

test("[K8] a broadcast keeps hours under a name alone, where what is held back outlives the process", async () => {
  const declared = (options: Partial<ConsumerOptions<number>>) =>
    consumer(jobs, { group: "work", mode: "broadcast", hours: office, handler: () => undefined, ...options });
  assert.throws(
    () => declared({}),
    (error) => isSluiceError(error, "INVALID_OPTIONS") && error.problems.some(({ path }) => path === "hours"),
  );
  const few = { windows: [{ concurrency: 2 }] };
  assert.throws(
    () => declared({ instance: "one", hours: few }),
    (error) =>
      isSluiceError(error, "INVALID_OPTIONS") &&
      error.problems.some(({ path }) => path === "hours.windows[0].concurrency"),
  );
  await using here = await worldAt(monday("18:30"));
  const inbox = new Inbox<number>();
  const named = app({ consumers: [declared({ instance: "one", handler: (c) => inbox.add(c.value) })] });
  const first = await here.start(named);
  await inForce(here, null);
  await first.sluice.sendBatch(jobs, count(4));
  await looksAtTheClock(here, 3);
  await first.close();
  assert.deepEqual(inbox.items, []);
  await here.set(monday("17:00"));
  await using _second = await here.start(named);
  await inbox.until(4);
});

/** How many rows of sluice.hours are of a member whose session has ended and that nobody has removed. */
async function hoursOfTheDead(here: World): Promise<number> {
  await using _running = await here.start(working({ mode: "shared", hours: office }));
  const [was] = await eventually("it says what it goes by", async () => {
    const rows = await here.sql<{ member: number; pid: number }[]>`
      select h.member, m.backend_pid as pid from sluice.hours h join sluice.members m using (member)`;
    return rows.length > 0 ? rows : undefined;
  });
  // So that it cannot come back, and nobody is there to remove what it was.
  await here.sql.unsafe(`
    create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not now'; end $$;
    create trigger refuse before insert on sluice.member for each row execute function refuse()`);
  await here.sql`select pg_terminate_backend(${was?.pid ?? 0})`;
  await eventually("it lives no more", async () => {
    const [row] = await here.sql`select live from sluice.members where member = ${was?.member ?? 0}`;
    return row?.["live"] === false ? true : undefined;
  });
  const shown = await here.sql`select from sluice.hours`;
  await here.sql`drop trigger refuse on sluice.member`;
  return shown.length;
}

test("[K8] sluice.hours shows who lives, as sluice.members says it, and no member that is gone and still listed", async () => {
  await using here = await world();
  assert.equal(await hoursOfTheDead(here), 0);
});

test("the check sees hours of a member that is gone", async () => {
  await using here = await world();
  await here.sql`create or replace function sluice.live_members() returns setof integer language sql stable as 'select member from sluice.member'`;
  assert.equal(await hoursOfTheDead(here), 1);
});
