import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { sql } from "drizzle-orm";
import { app, type BatchConsumerOptions, consumer, fixed, isSluiceError, type Middleware, topic } from "sluice";
import { z } from "zod";
import { count, eventually, Inbox, type World, world } from "./harness.ts";

interface Task {
  readonly key: string;
  readonly number: number;
}

const tasks = topic("tasks", {
  schema: z.object({ key: z.string(), number: z.number() }),
  key: (task) => task.key,
  partitions: 1,
});
const results = topic("results", { schema: z.object({ from: z.number() }), partitions: 1 });

const modes = ["ordered", "keyed"] as const;

type Options = Omit<BatchConsumerOptions<Task>, "group">;

const working = (options: Options) =>
  app({
    topics: [tasks, results],
    consumers: [consumer(tasks, { group: "workers", commitInterval: "1h", ...options })],
  });

const values = (to: number, keys = to) => count(to).map((number) => ({ key: `key-${number % keys}`, number }));

async function deadLetters(here: World) {
  const rows = await here.sql<{ at: number; reason: string; error: string; attempts: number }[]>`
    select "offset"::int as at, reason, error, attempts from sluice.dead_letters order by "offset"`;
  return rows.map((row) => ({ ...row }));
}

/** The one that there will be. */
async function deadLetter(here: World) {
  const letters = await eventually("there is a dead letter", async () => {
    const found = await deadLetters(here);
    return found.length > 0 ? found : undefined;
  });
  assert.equal(letters.length, 1);
  return letters[0];
}

/** Sends before anything consumes, so that batches can be full. */
async function sendFirst(here: World, sent: readonly Task[]): Promise<void> {
  await using sluice = await here.connect();
  await sluice.sendBatch(tasks, sent);
}

test("[R9] in order: full batches, each message once, by offset and without a gap", async () => {
  await using here = await world();
  await sendFirst(here, values(25));
  const seen = new Inbox<number[]>();
  await using running = await here.start(
    working({
      batch: { size: 10 },
      batchHandler: async (b) => {
        await nextTurn();
        seen.add(b.messages.map(({ value }) => value.number));
        assert.deepEqual([b.topic, b.group, b.partition], ["tasks", "workers", 0]);
      },
    }),
  );
  const batches = await seen.until(3);
  assert.deepEqual(
    batches.map((batch) => batch.length),
    [10, 10, 5],
  );
  assert.deepEqual(batches.flat(), count(25));
  await running.close();
  const [row] = await here.sql`select committed_offset::int as at from sluice.lag where "group" = 'workers'`;
  assert.equal(row?.["at"], 25);
});

test("[R9] a wait gathers what comes one by one; without one, what is there is handed over", async () => {
  for (const mode of modes) {
    await using here = await world();
    const seen = new Inbox<number[]>();
    const handler: Options["batchHandler"] = (b) => seen.add(b.messages.map(({ value }) => value.number));
    await using running = await here.start(working({ mode, batch: { size: 5, wait: "1m" }, batchHandler: handler }));
    for (const value of values(5)) await running.sluice.send(tasks, value);
    assert.deepEqual(await seen.until(1), [[0, 1, 2, 3, 4]]);
  }
  await using here = await world();
  const seen = new Inbox<number>();
  await using running = await here.start(
    working({ batch: { size: 5 }, batchHandler: (b) => seen.add(b.messages.length) }),
  );
  await running.sluice.send(tasks, { key: "a", number: 0 });
  assert.deepEqual(await seen.until(1), [1]);
});

test("[R9] messages that still wait to be gathered hold up no end of the app", async () => {
  for (const mode of modes) {
    await using here = await world();
    const running = await here.start(
      working({ mode, batch: { size: 5, wait: "1m" }, batchHandler: () => assert.fail("there are too few") }),
    );
    await running.sluice.send(tasks, { key: "a", number: 0 });
    await running.sluice.flush();
    assert.equal(await running.close(), true);
  }
});

test("[R9] by key: no two of a key in a batch, none beside one that runs, each key in order", async () => {
  await using here = await world();
  await sendFirst(here, values(120, 7));
  const seen = new Inbox<Task>();
  const underWay = new Set<string>();
  const problems: string[] = [];
  let most = 0;
  await using running = await here.start(
    working({
      mode: "keyed",
      concurrency: 6,
      batch: { size: 3 },
      batchHandler: async (b) => {
        most = Math.max(most, b.messages.length);
        for (const { value } of b.messages) {
          if (underWay.has(value.key)) problems.push(`${value.key} ran twice at once`);
          underWay.add(value.key);
        }
        await nextTurn();
        for (const { value } of b.messages) underWay.delete(value.key);
        for (const { value } of b.messages) seen.add(value);
      },
    }),
  );
  await seen.until(120);
  assert.deepEqual(problems, []);
  assert.equal(most, 3);
  for (const key of count(7).map((number) => `key-${number}`)) {
    const numbers = seen.items.filter((value) => value.key === key).map(({ number }) => number);
    assert.deepEqual(
      numbers,
      numbers.toSorted((left, right) => left - right),
    );
  }
  await running.close();
});

test("[R9] one poisonous message fails its batch once and nobody else: the others go on, without a lost attempt", async () => {
  for (const mode of modes) {
    await using here = await world();
    await sendFirst(here, values(10));
    const [done, sizes] = [new Inbox<number>(), new Inbox<number>()];
    await using running = await here.start(
      working({
        mode,
        batch: { size: 10 },
        retry: { attempts: 2, backoff: fixed("5ms") },
        batchHandler: (b) => {
          sizes.add(b.messages.length);
          if (b.messages.some(({ value }) => value.number === 4)) throw new Error("poison");
          for (const { value, attempt } of b.messages) {
            assert.equal(attempt, 1);
            done.add(value.number);
          }
        },
      }),
    );
    const handled = [...(await done.until(9))];
    const letter = await deadLetter(here);
    await running.close();
    if (mode === "ordered") assert.deepEqual(handled, [0, 1, 2, 3, 5, 6, 7, 8, 9]);
    assert.deepEqual([...handled].sort(), [0, 1, 2, 3, 5, 6, 7, 8, 9]);
    assert.deepEqual([...sizes.items].sort((left, right) => right - left).slice(0, 2), [10, 1]);
    assert.deepEqual(letter, { at: 4, reason: "exhausted", error: "Error: poison", attempts: 2 });
  }
});

test("[R9][Q10] a verb is about its own message; those that got none are done", async () => {
  for (const mode of modes) {
    await using here = await world();
    await sendFirst(here, values(6));
    const seen = new Inbox<string>();
    await using running = await here.start(
      working({
        mode,
        batch: { size: 6 },
        batchHandler: (b) => {
          for (const c of b.messages) {
            seen.add(`${c.value.number} attempt ${c.attempt} of ${b.messages.length}`);
            if (b.messages.length === 1) continue;
            if (c.value.number === 1) c.reject("not this one");
            if (c.value.number === 2) c.retry("5ms");
            if (c.value.number === 3) c.release("5ms");
            c.extend("1m");
          }
        },
      }),
    );
    await seen.until(8);
    await running.close();
    assert.deepEqual(
      seen.items.slice(0, 6),
      count(6).map((number) => `${number} attempt 1 of 6`),
    );
    assert.deepEqual([...seen.items.slice(6)].sort(), ["2 attempt 2 of 1", "3 attempt 1 of 1"]);
    assert.deepEqual(await deadLetter(here), { at: 1, reason: "rejected", error: "not this one", attempts: 1 });
  }
});

test("[R9][N1] one transaction for a batch: effects, what is sent and positions commit together, or not at all", async () => {
  for (const mode of modes) {
    await using here = await world();
    await here.sql`create table effects (number integer not null, batch integer not null)`;
    await sendFirst(here, values(30));
    const transactions = new Inbox<string>();
    let calls = 0;
    const start = () =>
      here.start(
        working({
          mode,
          batch: { size: 10 },
          retry: { backoff: fixed("5ms") },
          batchHandler: async (b) => {
            calls += 1;
            const tx = await b.tx();
            for (const c of b.messages) {
              assert.equal(await c.tx(), tx);
              await tx.execute(sql`insert into effects values (${c.value.number}, ${calls})`);
              c.send(results, { from: c.value.number });
            }
            const [row] = await tx.execute<{ id: string }>(sql`select pg_current_xact_id()::text as id`);
            if (calls === 2) throw new Error("the second batch fails");
            transactions.add(`${row?.id} with ${b.messages.length}`);
          },
        }),
      );
    {
      await using running = await start();
      const sent = await eventually("a result of each message is in the log", async () => {
        const rows = await here.sql`select (value->>'from')::int as sender from topics.results order by 1`;
        return rows.length >= 30 ? rows.map((row) => row["sender"]) : undefined;
      });
      assert.deepEqual(sent, count(30));
      // The session dies: positions were never written, only the marks are there.
      await here.sql`
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name like 'sluice app%'`;
      await running.sluice.send(tasks, { key: "last", number: 30 });
      await eventually("the last effect is committed", async () => {
        const [row] = await here.sql`select count(*)::int as effects from effects`;
        return row?.["effects"] === 31 ? true : undefined;
      });
    }
    const effects = await here.sql`select number from effects order by number`;
    assert.deepEqual(
      effects.map((row) => row["number"]),
      count(31),
    );
    // Two whole batches, the ten of the second one by one, and the last: each in one transaction.
    assert.equal(new Set(transactions.items).size, transactions.items.length);
    if (mode === "ordered") {
      assert.equal(transactions.items.filter((item) => item.endsWith(" with 10")).length, 2);
      assert.equal(transactions.items.filter((item) => item.endsWith(" with 1")).length, 11);
    }
    assert.deepEqual(await deadLetters(here), []);
  }
});

test("[R9][Q10] a batch that never ends is over with its time; its messages go on one by one", async () => {
  await using here = await world();
  await sendFirst(here, values(3));
  const seen = new Inbox<string>();
  await using running = await here.start(
    working({
      batch: { size: 3 },
      timeout: "50ms",
      retry: { attempts: 1 },
      batchHandler: async (b) => {
        if (b.messages.length > 1 || b.messages[0]?.value.number === 1) {
          await new Promise((resolve) => b.signal.addEventListener("abort", resolve));
          assert.ok(isSluiceError(b.signal.reason, "HANDLER_TIMEOUT"));
          await new Promise(() => undefined);
        }
        for (const { value } of b.messages) seen.add(`${value.number} done`);
      },
    }),
  );
  assert.deepEqual(await seen.until(2), ["0 done", "2 done"]);
  assert.equal(await running.close(), true);
  const letter = await deadLetter(here);
  assert.deepEqual([letter?.at, letter?.attempts], [1, 1]);
});

test("[R9] each message of a batch goes through the middlewares; one that is held back there is done without the handler", async () => {
  await using here = await world();
  await sendFirst(here, values(4));
  const [around, batches] = [new Inbox<string>(), new Inbox<number[]>()];
  const watching: Middleware<Task> = async (c, next) => {
    if (c.value.number === 2) return;
    await next();
    around.add(`after ${c.value.number}`);
  };
  await using running = await here.start(
    working({
      use: [watching],
      batch: { size: 4 },
      batchHandler: (b) => batches.add(b.messages.map(({ value }) => value.number)),
    }),
  );
  await around.until(3);
  await running.close();
  assert.deepEqual(batches.items, [[0, 1, 3]]);
  assert.deepEqual(around.items, ["after 0", "after 1", "after 3"]);
  const [row] = await here.sql`select committed_offset::int as at from sluice.lag where "group" = 'workers'`;
  assert.equal(row?.["at"], 4);
});

test("[R9] a record of a batch that does not fit the schema goes to the dead letters, and the rest is handled", async () => {
  await using here = await world();
  const seen = new Inbox<number>();
  await sendFirst(here, values(2));
  await here.sql`select sluice.send('tasks', key => 'x', value => '{"number": "three"}')`;
  await using running = await here.start(
    working({
      batch: { size: 4, wait: "1m" },
      batchHandler: (b) => {
        for (const c of b.messages) seen.add(c.value.number);
      },
    }),
  );
  await eventually("the outbox is empty", async () => {
    const [row] = await here.sql`select count(*)::int as waiting from sluice.outbox`;
    return row?.["waiting"] === 0 ? true : undefined;
  });
  await running.sluice.send(tasks, { key: "y", number: 3 });
  assert.deepEqual(await seen.until(3), [0, 1, 3]);
  const letter = await deadLetter(here);
  assert.deepEqual([letter?.at, letter?.reason], [2, "schema"]);
});
