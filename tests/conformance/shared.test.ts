import assert from "node:assert/strict";
import { test } from "node:test";
import { sql } from "drizzle-orm";
import { app, type ConsumerOptions, consumer, fixed, isSluiceError, type RunningApp, topic } from "sluice";
import { z } from "zod";
import { count, eventually, Inbox, type World, world } from "./harness.ts";

const jobs = topic("jobs", { schema: z.object({ number: z.number() }), partitions: 1 });

type Options = Partial<ConsumerOptions<{ number: number }>> & Pick<ConsumerOptions<{ number: number }>, "handler">;

function sharing(options: Options, name = "app") {
  return app({ name, consumers: [consumer(jobs, { group: "workers", mode: "shared", ...options })] });
}

const numbers = (from: number, to: number) => count(to - from).map((number) => ({ number: from + number }));

/** Resolves once everything sent is done, and nothing is in a hand or waits. */
function allDone(here: World, messages: number) {
  return eventually("all messages are done", async () => {
    const [row] = await here.sql<{ done: number; pending: number; waiting: number }[]>`
      select (select sum(committed_offset)::int from sluice.lag where "group" = 'workers') as done,
        (select count(*)::int from sluice.pending) as pending,
        (select count(*)::int from sluice.shared_retries) as waiting`;
    return row?.done === messages && row.pending === 0 && row.waiting === 0 ? true : undefined;
  });
}

test("[M1][M3] three members share one partition: each message goes to exactly one of them, and all of them work", async () => {
  await using here = await world();
  const inbox = new Inbox<{ member: string; number: number }>();
  const running: RunningApp[] = [];
  const together = new Set<string>();
  const met = Promise.withResolvers<void>();
  try {
    for (const name of ["a", "b", "c"]) {
      const one = sharing(
        {
          concurrency: 4,
          // None goes on before each of the three has a message in hand.
          handler: async (c) => {
            together.add(name);
            if (together.size === 3) met.resolve();
            await met.promise;
            inbox.add({ member: name, number: c.value.number });
          },
        },
        name,
      );
      running.push(await here.start(one));
    }
    await running[0]?.sluice.sendBatch(jobs, numbers(0, 300));
    await inbox.until(300);
    await allDone(here, 300);
  } finally {
    for (const one of running) await one.close();
  }
  assert.deepEqual(
    inbox.items.map(({ number }) => number).sort((left, right) => left - right),
    count(300),
  );
  assert.equal(new Set(inbox.items.map(({ member }) => member)).size, 3);
});

test("[M1] messages are kept until a member appears, and a member that comes goes on where others were", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  await sluice.sendBatch(jobs, numbers(0, 50));
  const first = new Inbox<number>();
  {
    await using running = await here.start(sharing({ handler: (c) => first.add(c.value.number) }));
    await first.until(50);
    void running;
  }
  await sluice.sendBatch(jobs, numbers(50, 60));
  const second = new Inbox<number>();
  await using running = await here.start(sharing({ handler: (c) => second.add(c.value.number) }));
  await second.until(10);
  await allDone(here, 60);
  assert.deepEqual(
    [...second.items].sort(),
    numbers(50, 60).map(({ number }) => number),
  );
  void running;
});

test("[Q5] prefetch bounds what a member has in hand, and concurrency what is in the handler", async () => {
  for (const [options, expected] of [
    [{ concurrency: 10, prefetch: 3 }, 3],
    [{ concurrency: 5 }, 5],
  ] as const) {
    await using here = await world();
    const held: (() => void)[] = [];
    const arrived = new Inbox<number>();
    let most = 0;
    const holding = sharing({
      ...options,
      handler: async (c) => {
        const { promise, resolve } = Promise.withResolvers<void>();
        held.push(resolve);
        most = Math.max(most, held.length);
        arrived.add(c.value.number);
        await promise;
      },
    });
    await using running = await here.start(holding);
    await running.sluice.sendBatch(jobs, numbers(0, 30));
    for (const gone of count(30)) {
      await arrived.until(Math.min(30, gone + expected));
      held.shift()?.();
    }
    assert.equal(most, expected);
  }
});

test("a failing message is tried again without holding anybody up, and ends in the dead letters", async () => {
  await using here = await world();
  const seen = new Inbox<string>();
  const failing = sharing({
    concurrency: 1,
    retry: { attempts: 3, backoff: fixed("20ms") },
    handler: (c) => {
      seen.add(`${c.value.number} attempt ${c.attempt}`);
      if (c.value.number === 1) throw new Error("no");
    },
  });
  await using running = await here.start(failing);
  await running.sluice.sendBatch(jobs, numbers(0, 5));
  await allDone(here, 5);
  const attempts = seen.items.filter((line) => line.startsWith("1 "));
  assert.deepEqual(attempts, ["1 attempt 1", "1 attempt 2", "1 attempt 3"]);
  assert.equal(seen.items.length, 7);
  const letters = await here.sql`select "offset"::int, reason, error, attempts from sluice.dead_letters`;
  assert.deepEqual([...letters], [{ offset: 1, reason: "exhausted", error: "Error: no", attempts: 3 }]);
});

test("attempts outlive the process: the count goes on in the next", async () => {
  await using here = await world();
  const seen = new Inbox<number>();
  const failing = (stop: number) =>
    sharing({
      retry: { attempts: 4, backoff: fixed("10ms") },
      handler: async (c) => {
        seen.add(c.attempt);
        // The one that is under way when the app stops ends with it; being stopped costs no attempt.
        if (c.attempt === stop) await new Promise((resolve) => c.signal.addEventListener("abort", resolve));
        throw new Error("no");
      },
    });
  {
    const stopping = app({ ...failing(3), drain: "10ms" });
    const running = await here.start(stopping);
    await running.sluice.send(jobs, { number: 0 });
    await seen.until(3);
    await running.close();
  }
  await using running = await here.start(failing(0));
  await allDone(here, 1);
  assert.deepEqual(seen.items, [1, 2, 3, 3, 4]);
  void running;
});

test("drop goes on without the message", async () => {
  await using here = await world();
  const dropped = new Inbox<number>();
  await using running = await here.start(
    sharing({
      retry: { attempts: 1 },
      onExhausted: "drop",
      handler: (c) => {
        dropped.add(c.value.number);
        throw new Error("no");
      },
    }),
  );
  await running.sluice.sendBatch(jobs, numbers(0, 3));
  await allDone(here, 3);
  assert.equal(dropped.items.length, 3);
  assert.equal((await here.sql`select from sluice.dead_letters`).length, 0);
});

test("what does not fit the schema goes to the dead letters at once", async () => {
  await using here = await world();
  const seen = new Inbox<number>();
  await using running = await here.start(sharing({ handler: (c) => seen.add(c.value.number) }));
  await here.sql`select sluice.send('jobs', '{"number":"none"}')`;
  await running.sluice.send(jobs, { number: 1 });
  await allDone(here, 2);
  assert.deepEqual(seen.items, [1]);
  const letters = await here.sql`select reason, attempts from sluice.dead_letters`;
  assert.deepEqual([...letters], [{ reason: "schema", attempts: 1 }]);
});

test("c.tx() commits with the message, on a second attempt too; c.commit() acknowledges one", async () => {
  await using here = await world();
  await here.sql`create table effects (number integer not null, attempt integer not null)`;
  const committed = new Inbox<number>();
  await using running = await here.start(
    sharing({
      commitInterval: "1h",
      retry: { backoff: fixed("10ms") },
      handler: async (c) => {
        if (c.value.number === 3) {
          await c.commit();
          const rows = await here.sql<{ messages: number }[]>`
            select sum(messages)::int as messages from sluice.pending where not ${c.offset}::bigint <@ int8range(0, from_offset)`;
          committed.add(rows[0]?.messages ?? 0);
          return;
        }
        const tx = await c.tx();
        await tx.execute(sql`insert into effects values (${c.value.number}, ${c.attempt})`);
        if (c.value.number === 1 && c.attempt === 1) throw new Error("undo");
      },
    }),
  );
  await running.sluice.sendBatch(jobs, numbers(0, 4));
  await committed.until(1);
  const rows = await eventually("three effects", async () => {
    const found = await here.sql<{ number: number; attempt: number }[]>`select * from effects order by number`;
    return found.length === 3 ? found : undefined;
  });
  assert.deepEqual(
    rows.map((row) => [row.number, row.attempt]),
    [
      [0, 1],
      [1, 2],
      [2, 1],
    ],
  );
  await running.close();
  await allDone(here, 4);
});

test("a group that shares a topic cannot own its partitions, nor the other way round", async () => {
  await using here = await world();
  {
    await using running = await here.start(sharing({ handler: () => undefined }));
    void running;
  }
  const owning = app({ consumers: [consumer(jobs, { group: "workers", handler: () => undefined })] });
  await assert.rejects(here.start(owning), (error) => isSluiceError(error, "INVALID_OPTIONS"));
});
