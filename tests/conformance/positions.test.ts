import assert from "node:assert/strict";
import { test } from "node:test";
import { sql } from "drizzle-orm";
import { app, type ConsumerOptions, consumer, fixed, isSluiceError, topic } from "sluice";
import { z } from "zod";
import { caughtUp, count, eventually, Inbox, type World, world } from "./harness.ts";

const tasks = topic("tasks", { schema: z.object({ number: z.number() }), partitions: 1 });

type Options = ConsumerOptions<{ number: number }>;

function working(options: Omit<Options, "group">) {
  return app({ consumers: [consumer(tasks, { group: "workers", ...options })] });
}

async function committed(here: World): Promise<number | undefined> {
  const [row] = await here.sql<{ at: number }[]>`
    select committed_offset::int as at from sluice.lag where "group" = 'workers'`;
  return row?.at;
}

const numbers = (to: number) => count(to).map((number) => ({ number }));

test("[K7] positions are committed by interval, and a restart continues there", async () => {
  await using here = await world();
  const [before, after] = [new Inbox<number>(), new Inbox<number>()];
  {
    await using running = await here.start(
      working({ commitInterval: "50ms", handler: (c) => before.add(c.value.number) }),
    );
    await running.sluice.sendBatch(tasks, numbers(10));
    await before.until(10);
    await caughtUp(here.sql, "workers");
  }
  await using running = await here.start(working({ handler: (c) => after.add(c.value.number) }));
  await running.sluice.send(tasks, { number: 10 });
  assert.deepEqual(await after.until(1), [10]);
});

test("[K7] a clean stop commits what was done since the last interval", async () => {
  await using here = await world();
  const [before, after] = [new Inbox<number>(), new Inbox<number>()];
  const running = await here.start(working({ commitInterval: "1h", handler: (c) => before.add(c.value.number) }));
  await running.sluice.sendBatch(tasks, numbers(10));
  await before.until(10);
  assert.equal(await committed(here), 0);
  assert.equal(await running.close(), true);
  assert.equal(await committed(here), 10);
  await using again = await here.start(working({ handler: (c) => after.add(c.value.number) }));
  await again.sluice.send(tasks, { number: 10 });
  assert.deepEqual(await after.until(1), [10]);
});

test("[K7] with commit: explicit only c.commit() moves the position; the rest comes again after a restart", async () => {
  await using here = await world();
  const [before, after] = [new Inbox<number>(), new Inbox<number>()];
  const running = await here.start(
    working({
      commit: "explicit",
      handler: async (c) => {
        if (c.value.number === 2) await c.commit();
        before.add(c.value.number);
      },
    }),
  );
  await running.sluice.sendBatch(tasks, numbers(5));
  await before.until(5);
  assert.equal(await committed(here), 3);
  await running.close();
  assert.equal(await committed(here), 3);
  await using again = await here.start(working({ commit: "explicit", handler: (c) => after.add(c.value.number) }));
  assert.deepEqual(await after.until(2), [3, 4]);
  void again;
});

test("[K7] c.commit() is durable when it resolves, also ahead of the interval", async () => {
  await using here = await world();
  const seen = new Inbox<number | undefined>();
  await using running = await here.start(
    working({
      commitInterval: "1h",
      handler: async (c) => {
        await c.commit();
        seen.add(await committed(here));
      },
    }),
  );
  await running.sluice.sendBatch(tasks, numbers(3));
  assert.deepEqual(await seen.until(3), [1, 2, 3]);
});

test("[K7] the position commits with the handler's own transaction, and goes with it when it rolls back", async () => {
  await using here = await world();
  await here.sql`create table effects (number integer not null, attempt integer not null)`;
  const seen = new Inbox<string>();
  await using running = await here.start(
    working({
      commitInterval: "1h",
      retry: { backoff: fixed("10ms") },
      handler: async (c) => {
        const tx = await c.tx();
        await tx.execute(sql`insert into effects values (${c.value.number}, ${c.attempt})`);
        seen.add(`${c.value.number} attempt ${c.attempt}`);
        if (c.value.number === 1 && c.attempt === 1) throw new Error("undo");
      },
    }),
  );
  await running.sluice.sendBatch(tasks, numbers(3));
  assert.deepEqual(await seen.until(4), ["0 attempt 1", "1 attempt 1", "1 attempt 2", "2 attempt 1"]);
  await eventually("all three are committed", async () => {
    const [row] = await here.sql`select count(*)::int as done from effects`;
    return row?.["done"] === 3 ? true : undefined;
  });
  const rows = await here.sql<{ number: number; attempt: number }[]>`select * from effects order by number`;
  assert.deepEqual(
    rows.map((row) => [row.number, row.attempt]),
    [
      [0, 1],
      [1, 2],
      [2, 1],
    ],
  );
});

test("[K7] c.commit() and c.tx() exclude each other", async () => {
  await using here = await world();
  const refusals = new Inbox<unknown>();
  await using running = await here.start(
    working({
      handler: async (c) => {
        await c.tx();
        await c.commit().catch((error: unknown) => refusals.add(error));
      },
    }),
  );
  await running.sluice.send(tasks, { number: 0 });
  const [refusal] = await refusals.until(1);
  assert.ok(isSluiceError(refusal, "INVALID_OPTIONS"));
});
