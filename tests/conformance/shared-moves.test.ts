import assert from "node:assert/strict";
import { test } from "node:test";
import { sql } from "drizzle-orm";
import { app, type ConsumerOptions, consumer, fixed, isSluiceError, topic } from "sluice";
import { z } from "zod";
import { count, eventually, Inbox, type World, workedOff, world } from "./harness.ts";

const jobs = topic("jobs", { schema: z.object({ number: z.number() }), partitions: 1 });

type Options = Partial<ConsumerOptions<{ number: number }>> & Pick<ConsumerOptions<{ number: number }>, "handler">;

function sharing(options: Options, group = "workers") {
  return app({ name: group, consumers: [consumer(jobs, { group, mode: "shared", ...options })] });
}

const numbers = (to: number) => count(to).map((number) => ({ number }));

const ordered = (inbox: Inbox<number>) => [...inbox.items].sort((left, right) => left - right);

test("[R8][K8] a shared group that nobody works for is reset, shifted and cloned", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  const first = new Inbox<number>();
  {
    await using running = await here.start(sharing({ handler: (c) => first.add(c.value.number) }));
    await sluice.sendBatch(jobs, numbers(20));
    await first.until(20);
    await workedOff(here.sql, "workers");
    void running;
  }
  const [dry] = await sluice.groups.reset("workers", "jobs", { offset: 15 }, { dryRun: true });
  assert.deepEqual([dry?.from, dry?.to, dry?.skipped, dry?.repeated, dry?.note], [20, 15, 0, 5, null]);
  await sluice.groups.reset("workers", "jobs", { offset: 15 });
  await sluice.groups.shift("workers", "jobs", -2);
  await sluice.groups.clone("workers", "others");
  for (const group of ["workers", "others"]) {
    const again = new Inbox<number>();
    await using running = await here.start(sharing({ handler: (c) => again.add(c.value.number) }, group));
    await again.until(7);
    await workedOff(here.sql, group);
    assert.deepEqual(
      ordered(again),
      count(7).map((number) => 13 + number),
    );
    void running;
  }
});

test("[R8] while a member lives a move is refused, and a dry run says so", async () => {
  await using here = await world();
  await using running = await here.start(sharing({ handler: () => undefined }));
  const { groups } = running.sluice;
  await running.sluice.sendBatch(jobs, numbers(3));
  await workedOff(here.sql, "workers");
  const [dry] = await groups.reset("workers", "jobs", "earliest", { dryRun: true });
  assert.match(dry?.note ?? "", /needs force/);
  await assert.rejects(groups.reset("workers", "jobs", "earliest"), (error) => isSluiceError(error, "GROUP_ACTIVE"));
  await workedOff(here.sql, "workers");
});

/** Resets a group by force while a member has four messages in their handlers, which write effects in their transactions. */
async function resetByForce(here: World): Promise<{ readonly outcomes: string[]; readonly effects: number[] }> {
  await here.sql`create table effects (number integer not null)`;
  const held = Promise.withResolvers<void>();
  const arrived = new Inbox<number>();
  const outcomes: string[] = [];
  const state = { holds: true };
  const handler: Options["handler"] = async (c) => {
    const { holds } = state;
    const tx = await c.tx();
    await tx.execute(sql`insert into effects values (${c.value.number})`);
    arrived.add(c.value.number);
    if (!holds) return;
    await held.promise;
    outcomes.push(c.signal.aborted ? "aborted" : "goes on");
  };
  await using running = await here.start(sharing({ concurrency: 4, handler }));
  await running.sluice.sendBatch(jobs, numbers(10));
  await arrived.until(4);
  state.holds = false;
  const [move] = await running.sluice.groups.reset("workers", "jobs", "earliest", { force: true });
  assert.equal(move?.note, "its member was fenced");
  held.resolve();
  await arrived.until(14);
  await workedOff(here.sql, "workers");
  const effects = await here.sql<{ number: number }[]>`select number from effects order by number`;
  return { outcomes, effects: effects.map(({ number }) => number) };
}

test("[R8][I12] by force: what members have in flight is void, and they go on from the new place at once", async () => {
  await using here = await world();
  const { outcomes, effects } = await resetByForce(here);
  assert.deepEqual(effects, count(10));
  assert.equal(outcomes.length, 4);
});

test("[R8][I12] the check sees a move that leaves the leases' effects be", async () => {
  await using here = await world();
  await here.sql`create or replace function sluice.mark_leased_done(p_position integer, p_lease bigint, p_offset bigint) returns text
    language sql return 'done'`;
  assert.ok((await resetByForce(here)).effects.length > 10);
});

test("[R8] a move forgets what waits for another attempt, and skips what is leased; dead letters stay", async () => {
  await using here = await world();
  const seen = new Inbox<number>();
  await using sluice = await here.connect();
  {
    await using running = await here.start(
      sharing({
        concurrency: 1,
        retry: { attempts: 2, backoff: fixed("1h") },
        handler: (c) => {
          seen.add(c.value.number);
          if (c.value.number === 1) c.reject("no");
          if (c.value.number === 2) throw new Error("later");
        },
      }),
    );
    await sluice.sendBatch(jobs, numbers(5));
    await seen.until(5);
    await eventually("one waits", async () =>
      (await here.sql`select from sluice.shared_retries`).length === 1 ? true : undefined,
    );
    void running;
  }
  await sluice.groups.reset("workers", "jobs", "latest");
  assert.deepEqual([...(await here.sql`select from sluice.shared_retries`)], []);
  assert.deepEqual([...(await here.sql`select from sluice.pending`)], []);
  assert.equal((await sluice.deadLetters.list()).letters.length, 1);
  const [audit] = await here.sql`select act, subject from sluice.audits where act = 'reset'`;
  assert.deepEqual({ ...audit }, { act: "reset", subject: "group workers" });
});
