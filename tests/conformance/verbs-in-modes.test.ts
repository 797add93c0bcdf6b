import assert from "node:assert/strict";
import { test } from "node:test";
import { app, consumer, fixed, isSluiceError, type Middleware, pattern, stage, topic } from "sluice";
import { z } from "zod";
import { eventually, Inbox, type World, world } from "./harness.ts";

const tasks = topic("tasks", { schema: z.object({ number: z.number() }), partitions: 1 });
const results = topic("results", { schema: z.object({ from: z.number() }), partitions: 1 });

async function rejectedOf(here: World) {
  const rows = await here.sql<{ offset: number; error: string; attempts: number }[]>`
    select "offset"::int as "offset", error, attempts from sluice.dead_letters where reason = 'rejected' order by "offset"`;
  return rows.map((row) => ({ ...row }));
}

for (const mode of ["shared", "broadcast"] as const) {
  test(`[Q10] retry counts, release does not, reject keeps a letter, what is sent comes once (${mode})`, async () => {
    await using here = await world();
    const seen = new Inbox<string>();
    let releases = 0;
    const working = consumer(tasks, {
      group: "workers",
      mode,
      start: "earliest",
      retry: { attempts: 2, backoff: fixed("1h") },
      use: [async (_, next) => await next()],
      handler: (c) => {
        const { number } = c.value;
        seen.add(`${number} attempt ${c.attempt}`);
        if (number === 0 && c.attempt === 1) c.retry("5ms");
        else if (number === 1 && releases < 3) {
          releases += 1;
          c.release("5ms");
        } else if (number === 2) c.reject("nobody wants it");
        else c.send(results, { from: number });
      },
    });
    await using running = await here.start(app({ topics: [results], consumers: [working] }));
    await running.sluice.sendBatch(tasks, [{ number: 0 }, { number: 1 }, { number: 2 }]);
    const released = ["1 attempt 1", "1 attempt 1", "1 attempt 1", "1 attempt 1"];
    assert.deepEqual([...(await seen.until(7))].sort(), ["0 attempt 1", "0 attempt 2", ...released, "2 attempt 1"]);
    await eventually("what was sent is there", async () => {
      const rows = await here.sql`select value from topics.results`;
      return rows.length === 2 ? true : undefined;
    });
    await eventually(
      "what was rejected is a dead letter",
      async () => (await rejectedOf(here)).length === 1 || undefined,
    );
    assert.deepEqual(await rejectedOf(here), [{ offset: 2, error: "nobody wants it", attempts: 1 }]);
  });
}

test("[Q10][R5] a redriven message is released without spending an attempt, and rejected again", async () => {
  await using here = await world();
  const seen = new Inbox<string>();
  const working = consumer(tasks, {
    group: "workers",
    retry: { attempts: 1 },
    handler: (c) => {
      seen.add(`attempt ${c.attempt}`);
      if (seen.items.length === 2 || seen.items.length === 3) c.release("5ms");
      else c.reject(`time ${seen.items.length}`);
    },
  });
  await using running = await here.start(app({ consumers: [working] }));
  await running.sluice.send(tasks, { number: 0 });
  await eventually("it is a dead letter", async () => (await rejectedOf(here)).length === 1 || undefined);
  const [letter] = await here.sql<{ dead_letter: string }[]>`select dead_letter from sluice.dead_letter`;
  await running.sluice.deadLetters.redrive([Number(letter?.dead_letter)]);
  assert.deepEqual(await seen.until(4), ["attempt 1", "attempt 1", "attempt 1", "attempt 1"]);
  await eventually("it is one again", async () => (await rejectedOf(here))[0]?.error === "time 4" || undefined);
});

test("[Q10] how long a message is put off, and that a release did not count, outlives the app", async () => {
  await using here = await world();
  const seen = new Inbox<string>();
  const declare = (verb: "release" | "done") =>
    consumer(tasks, {
      group: "workers",
      retry: { attempts: 1 },
      handler: (c) => {
        seen.add(`${verb} attempt ${c.attempt}`);
        if (verb === "release") c.release("1s");
      },
    });
  const first = await here.start(app({ consumers: [declare("release")] }));
  await first.sluice.send(tasks, { number: 0 });
  await seen.until(1);
  await eventually("it is put off", async () => (await here.sql`select from sluice.retries`).length === 1 || undefined);
  assert.equal(await first.close(), true);
  await using _second = await here.start(app({ consumers: [declare("done")] }));
  assert.deepEqual(await seen.until(2), ["release attempt 1", "done attempt 1"]);
});

test("[A4][Q8] the app's middlewares go around the consumers of patterns, and not around stages", async () => {
  await using here = await world();
  const seen = new Inbox<string>();
  const naming: Middleware = async (c, next) => {
    seen.add(`${c.group} around ${c.topic}`);
    await next();
  };
  const all = consumer(pattern("tasks.#", { schema: z.object({ number: z.number() }) }), {
    group: "readers",
    handler: (c) => seen.add(`${c.group} handler`),
  });
  const making = stage({ from: tasks, to: results, group: "makers", map: (c) => ({ from: c.value.number }) });
  const reading = consumer(results, { group: "results", handler: (c) => seen.add(`${c.group} handler`) });
  const consumers = [all, reading];
  await using running = await here.start(app({ topics: [tasks], consumers, stages: [making], use: [naming] }));
  await running.sluice.send(tasks, { number: 0 });
  assert.deepEqual(
    [...(await seen.until(4))].sort(),
    ["readers around tasks", "readers handler", "results around results", "results handler"].sort(),
  );
});

test("[R9][Q10] what does not go with batches or stages is refused at the declaration", () => {
  const pathsOf = (declare: () => unknown) => {
    try {
      declare();
      return [];
    } catch (error) {
      return isSluiceError(error) ? error.problems.map(({ path }) => path) : [String(error)];
    }
  };
  const batches = { group: "g", batch: { size: 10 }, batchHandler: () => undefined } as const;
  assert.deepEqual(
    pathsOf(() => consumer(tasks, { ...batches, mode: "shared" })),
    ["batchHandler"],
  );
  assert.deepEqual(
    pathsOf(() => consumer(tasks, { ...batches, rateLimit: { messages: 1, per: "1s" } })),
    ["rateLimit"],
  );
  const options = { from: tasks, to: results, group: "g", map: () => undefined, use: [], timeout: "1s" } as const;
  assert.deepEqual(
    pathsOf(() => stage(options as Parameters<typeof stage<typeof tasks, typeof results>>[0])),
    ["use", "timeout"],
  );
});
