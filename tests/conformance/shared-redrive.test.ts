import assert from "node:assert/strict";
import { test } from "node:test";
import { sql } from "drizzle-orm";
import { app, type ConsumerOptions, consumer, fixed, type RunningApp, topic } from "sluice";
import { z } from "zod";
import { count, eventually, Inbox, letTimePass, type World, world } from "./harness.ts";

const jobs = topic("jobs", {
  schema: z.object({ number: z.number(), broken: z.boolean().optional() }),
  partitions: 2,
});

type Job = { number: number; broken?: boolean | undefined };

interface State {
  fails: boolean;
}

/** A shared consumer that refuses while `state.fails`, and broken jobs for ever; what it did goes to the inbox. */
function working(inbox: Inbox<string>, state: State, options: Partial<ConsumerOptions<Job>> = {}, name = "app") {
  const sharing = consumer(jobs, {
    group: "workers",
    mode: "shared",
    retry: { attempts: 2, backoff: fixed("1ms") },
    handler: (c) => {
      if (state.fails || c.value.broken === true) throw new Error(`job ${c.value.number} is refused`);
      inbox.add(`${c.value.number} attempt ${c.attempt}`);
    },
    ...options,
  });
  return app({ name, consumers: [sharing] });
}

function letters(here: World, atLeast: number): Promise<number[]> {
  return eventually(`${atLeast} dead letters`, async () => {
    const rows = await here.sql<{ letter: number }[]>`
      select dead_letter::int as letter from sluice.dead_letters order by dead_letter`;
    return rows.length >= atLeast ? rows.map(({ letter }) => letter) : undefined;
  });
}

function allSettled(here: World): Promise<true> {
  return eventually("no redriven message waits", async () => {
    const [row] = await here.sql<{ waiting: number }[]>`select count(*)::int as waiting from sluice.redriven_messages`;
    return row?.waiting === 0 ? (true as const) : undefined;
  });
}

async function bury(here: World, running: RunningApp, state: State, jobCount: number): Promise<number[]> {
  state.fails = true;
  await running.sluice.sendBatch(
    jobs,
    count(jobCount).map((number) => ({ number })),
  );
  const dead = await letters(here, jobCount);
  state.fails = false;
  return dead;
}

test("[R5][Q10] redriven letters of a shared group go to any member, from their first attempt, once; the audit has it", async () => {
  await using here = await world();
  const inbox = new Inbox<string>();
  const state = { fails: true };
  await using one = await here.start(working(inbox, state, {}, "one"));
  await using two = await here.start(working(inbox, state, {}, "two"));
  const dead = await bury(here, one, state, 6);
  const [first = 0, ...others] = dead;
  assert.deepEqual(await one.sluice.deadLetters.redrive(first), { redriven: [first], waiting: [], gone: [] });
  await inbox.until(1);
  await allSettled(here);
  const again = await two.sluice.deadLetters.redrive([first, ...others]);
  assert.deepEqual(again, { redriven: others, waiting: [], gone: [first] });
  assert.deepEqual(
    [...(await inbox.until(6))].sort(),
    count(6).map((number) => `${number} attempt 1`),
  );
  await allSettled(here);
  assert.deepEqual((await one.sluice.deadLetters.list()).letters, []);
  const audits = await here.sql<{ act: string; letters: number }[]>`
    select act, json_array_length(details -> 'dead_letters')::int as letters from sluice.audits order by audit`;
  assert.deepEqual(
    audits.map(({ act, letters: count_ }) => [act, count_]),
    [
      ["redrive", 1],
      ["redrive", 5],
    ],
  );
});

test("[R5] one that fails again keeps its number, counts its redrives, and pauses nobody", async () => {
  await using here = await world();
  const inbox = new Inbox<string>();
  await using running = await here.start(working(inbox, { fails: false }, { onExhausted: "dead-letter" }));
  await running.sluice.send(jobs, { number: 1, broken: true });
  const [letter = 0] = await letters(here, 1);
  for (const redrives of [1, 2]) {
    await running.sluice.deadLetters.redrive(letter);
    const again = await eventually("it died again", async () => await running.sluice.deadLetters.get(letter));
    assert.deepEqual([again.redrives, again.attempts, again.reason], [redrives, 2, "exhausted"]);
  }
  await running.close();
  await using pausing = await here.start(working(inbox, { fails: false }, { onExhausted: "pause" }));
  await pausing.sluice.deadLetters.redrive(letter);
  const thrice = await eventually("it died again", async () => await pausing.sluice.deadLetters.get(letter));
  assert.equal(thrice.redrives, 3);
  assert.deepEqual([...(await here.sql`select from sluice.pauses`)], []);
});

test("[R5] an edited letter is handed over as it was edited; what fits the schema no more dies of that", async () => {
  await using here = await world();
  const inbox = new Inbox<string>();
  const state = { fails: true };
  await using running = await here.start(working(inbox, state));
  const [good = 0, bad = 0] = await bury(here, running, state, 2);
  await running.sluice.deadLetters.edit(good, { value: { number: 77 } });
  await running.sluice.deadLetters.edit(bad, { value: { number: "none" } });
  assert.equal(await running.sluice.deadLetters.redriveGroup("workers"), 2);
  assert.deepEqual(await inbox.until(1), ["77 attempt 1"]);
  const again = await eventually("it died again", async () => await running.sluice.deadLetters.get(bad));
  assert.deepEqual([again.reason, again.redrives, again.attempts], ["schema", 1, 1]);
});

test("[R5] all of a group go back at a rate, each once", async () => {
  await using here = await world();
  const inbox = new Inbox<string>();
  const state = { fails: true };
  await using running = await here.start(working(inbox, state, { retry: { attempts: 1 } }));
  await bury(here, running, state, 400);
  const beganAt = performance.now();
  assert.equal(await running.sluice.deadLetters.redriveGroup("workers", { topic: "jobs", rate: 1_000 }), 400);
  assert.ok(performance.now() - beganAt > 300, "it went faster than its rate");
  await inbox.until(400);
  await allSettled(here);
  assert.equal(new Set(inbox.items).size, 400);
});

test("[R5] a redriven message is tried again with its backoff, its effect commits with it, and a released one costs no attempt", async () => {
  await using here = await world();
  await here.sql`create table effects (number integer not null, attempt integer not null)`;
  const state = { fails: true };
  const seen = new Inbox<number>();
  await using running = await here.start(
    working(new Inbox(), state, {
      handler: async (c) => {
        if (state.fails) throw new Error("refused");
        seen.add(c.attempt);
        const tx = await c.tx();
        await tx.execute(sql`insert into effects values (${c.value.number}, ${c.attempt})`);
        if (seen.items.length === 1) c.release("5ms");
        else if (c.attempt === 1) throw new Error("undo");
      },
    }),
  );
  const [letter = 0] = await bury(here, running, state, 1);
  await running.sluice.deadLetters.redrive(letter);
  assert.deepEqual(await seen.until(3), [1, 1, 2]);
  await allSettled(here);
  assert.deepEqual(
    (await here.sql`select * from effects`).map((row) => ({ ...row })),
    [{ number: 0, attempt: 2 }],
  );
});

test("[R8] consumeAgain hands one message of the log to the group once more; while that is paused, later", async () => {
  await using here = await world();
  const inbox = new Inbox<string>();
  await using running = await here.start(working(inbox, { fails: false }));
  const { partition, offset } = await running.sluice.send(jobs, { number: 5 });
  assert.ok(offset !== null);
  await inbox.until(1);
  await running.sluice.groups.pause("workers");
  assert.equal(await running.sluice.groups.consumeAgain("workers", "jobs", partition, offset), "redriven");
  assert.equal(await running.sluice.groups.consumeAgain("workers", "jobs", partition, offset), "waiting");
  await letTimePass(here.sql, 700);
  assert.deepEqual(inbox.items, ["5 attempt 1"]);
  await running.sluice.groups.resume("workers");
  assert.deepEqual(await inbox.until(2), ["5 attempt 1", "5 attempt 1"]);
  await allSettled(here);
});
