import assert from "node:assert/strict";
import { test } from "node:test";
import { app, consumer, fixed, intervals, topic } from "sluice";
import { z } from "zod";
import { caughtUp, count, eventually, Inbox, world } from "./harness.ts";

const steps = topic("steps", {
  schema: z.object({ key: z.string(), number: z.number() }),
  key: (step) => step.key,
  partitions: 1,
});

interface Handing {
  readonly key: string;
  readonly number: number;
  readonly attempt: number;
}

/** A consumer that fails until `mayPass` says otherwise, and what it was handed. */
function failing(
  options: {
    readonly mode: "ordered" | "keyed";
    readonly delay: Parameters<typeof fixed>[0];
    readonly attempts?: number;
  },
  mayPass: (handing: Handing) => boolean,
) {
  const inbox = new Inbox<Handing & { readonly passed: boolean }>();
  const declared = consumer(steps, {
    group: "steps",
    mode: options.mode,
    commitInterval: 10,
    retry: { attempts: options.attempts ?? 10, backoff: fixed(options.delay) },
    handler: (c) => {
      const handing = { ...c.value, attempt: c.attempt };
      const passed = mayPass(handing);
      inbox.add({ ...handing, passed });
      if (!passed) throw new Error(`not yet, ${c.value.key}`);
    },
  });
  return { inbox, app: app({ consumers: [declared] }) };
}

test("[R5] a retry outlives the process: the next one goes on with the attempts that were made, when it is due", async () => {
  await using here = await world();
  const first = failing({ mode: "keyed", delay: "400ms" }, () => false);
  await using running = await here.start(first.app);
  await running.sluice.send(steps, { key: "a", number: 1 });
  await first.inbox.until(2);
  const due = await eventually("it was put off again", async () => {
    const [row] = await here.sql<{ attempt: number; due: Date; error: string; lag: number }[]>`
      select r.attempt, r.due, r.error, l.lag::integer from sluice.retries r, sluice.lag l where r.attempt = 2 and not r.in_hand`;
    return row;
  });
  assert.equal(due.error, "Error: not yet, a");
  await running.close();
  const [position] = await here.sql<{ lag: number }[]>`select lag::integer from sluice.lag`;
  assert.equal(position?.lag, 0, "the position has passed what was put off");
  const second = failing({ mode: "keyed", delay: "1ms" }, ({ attempt }) => attempt === 4);
  await using again = await here.start(second.app);
  await second.inbox.until(2);
  assert.deepEqual(
    second.inbox.items.map(({ attempt }) => attempt),
    [3, 4],
  );
  const [clock] = await here.sql<{ early: boolean }[]>`select clock_timestamp() < ${due.due} as early`;
  assert.equal(clock?.early, false);
  await eventually("its row is gone", async () => {
    const rows = await here.sql`select from sluice.retries`;
    return rows.length === 0 ? true : undefined;
  });
  await again.close();
});

test("[N2][I21] a failing message blocks its key and no other, also across a restart, and SQL lists what is blocked", async () => {
  await using here = await world();
  const blocked = failing({ mode: "keyed", delay: "50ms", attempts: 1_000 }, ({ key }) => key !== "b");
  await using running = await here.start(blocked.app);
  const values = count(40).map((number) => ({ key: number % 4 === 1 ? "b" : `free-${number % 4}`, number }));
  await running.sluice.sendBatch(steps, values);
  await eventually("all others have passed", async () =>
    blocked.inbox.items.filter(({ passed }) => passed).length === 30 ? true : undefined,
  );
  // The others do not wait until it is written.
  const listed = await eventually("it is listed", async () => {
    const rows = await here.sql`select key, value->>'number' as number, blocks from sluice.retries`;
    return rows.length > 0 ? rows : undefined;
  });
  assert.deepEqual([...listed], [{ key: "b", number: "1", blocks: "key" }]);
  await running.close();
  const second = failing(
    { mode: "keyed", delay: "10ms", attempts: 1_000 },
    ({ key, attempt, number }) => key !== "b" || attempt > number % 3,
  );
  await using again = await here.start(second.app);
  await eventually("all of it has passed", async () =>
    second.inbox.items.filter(({ passed }) => passed).length === 10 ? true : undefined,
  );
  const passed = [...blocked.inbox.items, ...second.inbox.items].filter((handing) => handing.passed);
  for (const key of ["b", "free-0", "free-2", "free-3"]) {
    const numbers = passed.filter((handing) => handing.key === key).map(({ number }) => number);
    assert.deepEqual(
      numbers,
      values.filter((value) => value.key === key).map(({ number }) => number),
      key,
    );
  }
  await caughtUp(here.sql, "steps");
  await again.close();
});

test("[M5][I21] in ordered mode a failing message blocks its partition, also across a restart", async () => {
  await using here = await world();
  const blocked = failing({ mode: "ordered", delay: "50ms", attempts: 1_000 }, ({ number }) => number < 3);
  await using running = await here.start(blocked.app);
  await running.sluice.sendBatch(
    steps,
    count(10).map((number) => ({ key: `key-${number}`, number })),
  );
  await blocked.inbox.until(6);
  const listed = await here.sql`select value->>'number' as number, blocks from sluice.retries`;
  assert.deepEqual([...listed], [{ number: "3", blocks: "partition" }]);
  await running.close();
  const second = failing(
    { mode: "ordered", delay: "10ms", attempts: 1_000 },
    ({ attempt, number }) => number !== 3 || attempt > 5,
  );
  await using again = await here.start(second.app);
  await eventually("all of it has passed", async () =>
    second.inbox.items.filter(({ passed }) => passed).length === 7 ? true : undefined,
  );
  assert.deepEqual(
    [...blocked.inbox.items, ...second.inbox.items].filter(({ passed }) => passed).map(({ number }) => number),
    count(10),
  );
  await again.close();
});

test("[R5] a list of intervals is waited for one after the other, and the dead letter says how often it was tried", async () => {
  await using here = await world();
  const handed: number[] = [];
  const trying = consumer(steps, {
    group: "steps",
    retry: { attempts: 4, backoff: intervals("20ms", "40ms", "60ms") },
    handler: () => {
      handed.push(performance.now());
      throw new Error("never");
    },
  });
  await using running = await here.start(app({ consumers: [trying] }));
  await running.sluice.send(steps, { key: "a", number: 1 });
  const letter = await eventually("it is dead", async () => {
    const [row] = await here.sql<{ attempts: number; reason: string; error: string }[]>`
      select attempts, reason, error from sluice.dead_letters`;
    return row;
  });
  assert.deepEqual({ ...letter }, { attempts: 4, reason: "exhausted", error: "Error: never" });
  const waits = handed.slice(1).map((at, index) => at - (handed[index] ?? 0));
  assert.equal(waits.length, 3);
  for (const [index, wait] of waits.entries())
    assert.ok(wait >= 20 * (index + 1) - 1, `${wait} ms before attempt ${index + 2}`);
  await running.close();
});

test("[R5] an attempt counts when its message is handed over, not while it waits for a place", async () => {
  await using here = await world();
  const gate = Promise.withResolvers<void>();
  const inbox = new Inbox<string>();
  const held = consumer(steps, {
    group: "steps",
    mode: "keyed",
    concurrency: 1,
    retry: { attempts: 5, backoff: fixed("20ms") },
    handler: async (c) => {
      if (c.attempt === 1) throw new Error("at first");
      inbox.add(c.value.key);
      await gate.promise;
    },
  });
  const running = await here.start(app({ consumers: [held] }));
  await running.sluice.sendBatch(steps, [
    { key: "a", number: 1 },
    { key: "b", number: 2 },
  ]);
  await inbox.until(1);
  const rows = await eventually("both are due", async () => {
    const found = await here.sql<{ key: string; attempt: number; in_hand: boolean }[]>`
      select key, attempt, in_hand from sluice.retries where in_hand or due < clock_timestamp() order by in_hand`;
    return found.length === 2 ? found : undefined;
  });
  assert.deepEqual(
    rows.map(({ attempt, in_hand }) => ({ attempt, in_hand })),
    [
      { attempt: 1, in_hand: false },
      { attempt: 2, in_hand: true },
    ],
  );
  assert.deepEqual([rows[1]?.key], inbox.items);
  gate.resolve();
  await running.close();
});

test("[R5] a handler that changes its value and fails gets it again as it was sent, and so does its dead letter", async () => {
  const anything = topic("anything", { schema: z.any(), partitions: 1 });
  for (const mode of ["ordered", "keyed", "shared"] as const) {
    await using here = await world();
    const seen = new Inbox<string>();
    const changing = app({
      name: "app",
      consumers: [
        consumer(anything, {
          group: "changing",
          mode,
          retry: { attempts: 3, backoff: fixed("5ms") },
          handler: (c) => {
            seen.add(JSON.stringify(c.value));
            c.value.list.push("changed");
            throw new Error("again");
          },
        }),
      ],
    });
    await using running = await here.start(changing);
    await running.sluice.send(anything, { list: ["sent"] });
    const [letter] = await eventually("it is a dead letter", async () => {
      const { letters } = await running.sluice.deadLetters.list({ group: "changing" });
      return letters.length > 0 && letters;
    });
    assert.deepEqual(
      seen.items,
      Array.from({ length: 3 }, () => '{"list":["sent"]}'),
      mode,
    );
    assert.deepEqual(letter?.value, { list: ["sent"] });
  }
});

test("[R5] what is dropped after its attempts does not come again after a restart, although nothing was committed", async () => {
  for (const [mode, attempts] of [
    ["ordered", 2],
    ["keyed", 2],
    ["keyed", 1],
  ] as const) {
    await using here = await world();
    const seen = new Inbox<string>();
    const dropping = app({
      name: "app",
      consumers: [
        consumer(steps, {
          group: "steps",
          mode,
          commit: "explicit",
          retry: { attempts, backoff: fixed("5ms") },
          onExhausted: "drop",
          handler: (c) => {
            seen.add(`${c.value.key}/${c.attempt}`);
            if (c.value.key === "rejected") c.reject("not wanted");
            else if (c.value.key === "failing") throw new Error("never");
          },
        }),
      ],
    });
    const keys = ["failing", "rejected", "fine"];
    const expected = ["failing/1", ...(attempts === 2 ? ["failing/2"] : []), "fine/1", "rejected/1"];
    for (let start = 1; start <= 3; start += 1) {
      const running = await here.start(dropping);
      if (start === 1)
        await running.sluice.sendBatch(
          steps,
          keys.map((key, number) => ({ key, number })),
        );
      // What is done and not committed comes again with every start, and nothing else.
      await seen.until(expected.length + start - 1);
      await running.close();
    }
    assert.deepEqual([...seen.items].sort(), [...expected, "fine/1", "fine/1"].sort(), `${mode}, ${attempts}`);
    const rows = await here.sql`select from sluice.retry`;
    assert.equal(rows.length, 0);
  }
});
