import assert from "node:assert/strict";
import { test } from "node:test";
import { integer, pgTable, text } from "drizzle-orm/pg-core";
import { app, consumer, fixed, isSluiceError, outgoing, stage, topic } from "sluice";
import { z } from "zod";
import { caughtUp, count, type World, world } from "./harness.ts";

const numbers = topic("numbers", { schema: z.object({ number: z.number() }), partitions: 1 });
const squares = topic("squares", { schema: z.number().max(1_000_000), partitions: 4 });
const words = topic("words", { schema: z.object({ word: z.string() }), key: ({ word }) => word, partitions: 2 });

const seen = pgTable("seen", { number: integer().notNull(), note: text().notNull() });

async function prepared(): Promise<World> {
  const here = await world();
  await here.sql`create table seen (number integer not null, note text not null)`;
  return here;
}

const rowsOf = async ({ sql }: World) => (await sql`select number from seen order by 1`).map((row) => row["number"]);

test("[K15][I13] a stage writes its rows, produces none, one or many messages, and commits its position, together", async () => {
  await using here = await prepared();
  const repeat = stage({
    from: numbers,
    to: squares,
    group: "repeat",
    map: async (c) => {
      await (await c.tx()).insert(seen).values({ number: c.value.number, note: c.group });
      const square = c.value.number ** 2;
      if (c.value.number === 0) return undefined;
      return c.value.number === 1 ? square : count(c.value.number).map(() => square);
    },
  });
  await using running = await here.start(app({ stages: [repeat] }));
  await running.sluice.sendBatch(
    numbers,
    count(5).map((number) => ({ number })),
  );
  await caughtUp(here.sql, "repeat");
  const made = await here.sql<{ value: number; id: string; partition: number }[]>`
    select value::text::int as value, id, partition from topics.squares order by 1, id`;
  assert.deepEqual(
    made.map(({ value }) => value),
    [1, 4, 4, 9, 9, 9, 16, 16, 16, 16],
  );
  assert.equal(new Set(made.map(({ id }) => id)).size, 10);
  assert.match(String(made[9]?.id), /^s-\d+-4-3$/);
  assert.deepEqual(await rowsOf(here), count(5));
});

test("[K15] a stage produces to several topics, with keys, headers and partitions of one's choice", async () => {
  await using here = await prepared();
  const spread = stage({
    from: numbers,
    to: [squares, words],
    group: "spread",
    map: (c) => [
      outgoing(squares, c.value.number, { partition: c.value.number % 4 }),
      outgoing(words, { word: "odd" }, { headers: { from: c.id }, timestamp: 1_000 }),
      outgoing(words, { word: "even" }, { key: "other" }),
    ],
  });
  await using running = await here.start(app({ stages: [spread] }));
  const sent = await running.sluice.sendBatch(
    numbers,
    count(12).map((number) => ({ number })),
  );
  await caughtUp(here.sql, "spread");
  const placed = await here.sql`select partition, value::text::int as value from topics.squares order by 1, "offset"`;
  assert.deepEqual(
    placed.map(({ partition, value }) => [partition, value]),
    count(4).flatMap((partition) => count(3).map((turn) => [partition, partition + 4 * turn])),
  );
  const said = await here.sql`
    select key, value->>'word' as word, headers->>'from' as from, extract(epoch from timestamp)::int as second, "offset"::int as at
    from topics.words order by key, "offset"`;
  assert.equal(said.length, 24);
  assert.deepEqual(
    said.filter(({ key }) => key === "odd").map((row) => row["from"]),
    sent.map(({ id }) => id),
  );
  assert.deepEqual([said[0]?.["key"], said[0]?.["second"]], ["odd", 1]);
  assert.deepEqual(new Set(said.map(({ key, word }) => `${key} ${word}`)), new Set(["odd odd", "other even"]));
});

test("[K15] mapBatch gets many messages at once and writes their rows in one statement", async () => {
  await using here = await prepared();
  const sizes: number[] = [];
  const batched = stage({
    from: numbers,
    to: squares,
    group: "batched",
    batch: 50,
    mapBatch: async (inputs, tx) => {
      sizes.push(inputs.length);
      await tx.insert(seen).values(inputs.map(({ value, offset }) => ({ number: value.number, note: `${offset}` })));
      return inputs.map(({ value }) => value.number);
    },
  });
  await using sluice = await here.connect();
  await sluice.sendBatch(
    numbers,
    count(500).map((number) => ({ number })),
  );
  await using _ = await here.start(app({ stages: [batched] }));
  await caughtUp(here.sql, "batched");
  assert.deepEqual(await rowsOf(here), count(500));
  const made = await here.sql`select count(*)::int as messages, count(distinct id)::int as ids from topics.squares`;
  assert.deepEqual({ ...made[0] }, { messages: 500, ids: 500 });
  // It begins with one, doubles, and never goes beyond the batch.
  assert.deepEqual(sizes.slice(0, 7), [1, 2, 4, 8, 16, 32, 50]);
  assert.equal(Math.max(...sizes), 50);
});

test("[K15][N1] a message whose map throws is alone in its failure; nothing of a failed attempt is ever seen", async () => {
  await using here = await prepared();
  const attempts: number[] = [];
  const moody = stage({
    from: numbers,
    to: squares,
    group: "moody",
    retry: { attempts: 3, backoff: fixed("5ms") },
    map: async (c) => {
      await (await c.tx()).insert(seen).values({ number: c.value.number, note: "" });
      if (c.value.number === 20) attempts.push(c.attempt);
      if (c.value.number === 20 || (c.value.number === 30 && c.attempt < 2)) throw new Error("not this one");
      return c.value.number;
    },
  });
  await using running = await here.start(app({ stages: [moody] }));
  await running.sluice.sendBatch(
    numbers,
    count(60).map((number) => ({ number })),
  );
  await caughtUp(here.sql, "moody");
  const others = count(60).filter((number) => number !== 20);
  assert.deepEqual(await rowsOf(here), others);
  const made = await here.sql`select value::text::int as value from topics.squares order by 1`;
  assert.deepEqual(
    made.map(({ value }) => value),
    others,
  );
  // Once in the company of others, then three times alone.
  assert.deepEqual(attempts.slice(-3), [1, 2, 3]);
  const letters = await here.sql`select "offset"::int as at, reason, attempts from sluice.dead_letters`;
  assert.deepEqual(
    letters.map((row) => ({ ...row })),
    [{ at: 20, reason: "exhausted", attempts: 3 }],
  );
});

test("[K15] when mapBatch throws, its messages come one by one, and only the one it throws for is given up", async () => {
  await using here = await prepared();
  const sizes: number[] = [];
  const strict = stage({
    from: numbers,
    to: squares,
    group: "strict",
    retry: { attempts: 1 },
    mapBatch: async (inputs, tx) => {
      sizes.push(inputs.length);
      await tx.insert(seen).values(inputs.map(({ value }) => ({ number: value.number, note: "" })));
      if (inputs.some(({ value }) => value.number === 5)) throw new Error("not this one");
      return inputs.map(({ value }) => value.number);
    },
  });
  await using sluice = await here.connect();
  await sluice.sendBatch(
    numbers,
    count(10).map((number) => ({ number })),
  );
  await using _ = await here.start(app({ stages: [strict] }));
  await caughtUp(here.sql, "strict");
  // 0, then 1 and 2, then 3 to 6 in vain and one by one; then it begins anew.
  assert.deepEqual(sizes, [1, 2, 4, 1, 1, 1, 1, 1, 2]);
  assert.deepEqual(await rowsOf(here), [0, 1, 2, 3, 4, 6, 7, 8, 9]);
  const [letter] = await here.sql`select "offset"::int as at from sluice.dead_letters`;
  assert.equal(letter?.["at"], 5);
});

test("[K15] what does not fit the topic it is for is the stage's failure, and goes to the dead letters", async () => {
  await using here = await prepared();
  const wrong = (number: number): unknown =>
    [2_000_000, "text", outgoing(words, { word: "elsewhere" }), outgoing(squares, 1, { partition: 9 })][number];
  const careless = stage({
    from: numbers,
    to: squares,
    group: "careless",
    retry: { attempts: 1 },
    map: (c) => (c.value.number < 4 ? (wrong(c.value.number) as number) : c.value.number),
  });
  await using running = await here.start(app({ topics: [words], stages: [careless] }));
  await running.sluice.sendBatch(
    numbers,
    count(10).map((number) => ({ number })),
  );
  // Not a number: it does not fit the topic that it is read from.
  await here.sql`select sluice.send('numbers', '{"number":"x"}')`;
  const rows = async () =>
    await here.sql`select "offset"::int as at, reason, error from sluice.dead_letters order by 1`;
  while ((await rows()).length < 5) await caughtUp(here.sql, "careless");
  const letters = await rows();
  assert.deepEqual(
    letters.map(({ at, reason }) => `${at} ${reason}`),
    ["0 exhausted", "1 exhausted", "2 exhausted", "3 exhausted", "10 schema"],
  );
  for (const [index, says] of [
    "does not fit the schema of topic squares",
    "does not fit",
    "does not name topic words",
    "not 9",
  ].entries())
    assert.ok(String(letters[index]?.["error"]).includes(says), String(letters[index]?.["error"]));
  const made = await here.sql`select value::text::int as value from topics.squares order by 1`;
  assert.deepEqual(
    made.map(({ value }) => value),
    [4, 5, 6, 7, 8, 9],
  );
});

test("[K15] a stage in mode keyed handles messages side by side, each in a transaction of its own", async () => {
  await using here = await prepared();
  let [now, most] = [0, 0];
  const beside = stage({
    from: words,
    to: squares,
    group: "beside",
    mode: "keyed",
    concurrency: 4,
    map: async (c) => {
      now += 1;
      most = Math.max(most, now);
      await (await c.tx()).insert(seen).values({ number: c.offset, note: c.value.word });
      now -= 1;
      return c.offset;
    },
  });
  await using running = await here.start(app({ stages: [beside] }));
  await running.sluice.sendBatch(
    words,
    count(60).map((number) => ({ word: `w${number}` })),
  );
  await caughtUp(here.sql, "beside");
  assert.equal((await rowsOf(here)).length, 60);
  const [made] = await here.sql`select count(*)::int as messages from topics.squares`;
  assert.equal(made?.["messages"], 60);
  assert.ok(most > 1 && most <= 8, `${most} at once`);
});

test("[K15] a chain of stages wakes the next without a poll, and a stage may fill many partitions at once", async () => {
  await using here = await prepared();
  const copies = topic("copies", { schema: z.number(), partitions: 16 });
  const first = stage({
    from: numbers,
    to: copies,
    group: "first",
    map: (c) => count(3_000).map((copy) => outgoing(copies, copy + c.value.number, { partition: copy % 16 })),
  });
  const second = stage({ from: copies, to: squares, group: "second", map: (c) => c.value });
  await using running = await here.start(
    app({
      stages: [first, second],
      poll: "1h",
      consumers: [consumer(squares, { group: "end", handler: () => undefined })],
    }),
  );
  await running.sluice.send(numbers, { number: 0 });
  await caughtUp(here.sql, "first");
  await caughtUp(here.sql, "second");
  await caughtUp(here.sql, "end");
  const [made] =
    await here.sql`select count(*)::int as messages, count(distinct id)::int as ids, sum(value::text::int)::int as sum from topics.squares`;
  assert.deepEqual({ ...made }, { messages: 3_000, ids: 3_000, sum: (2_999 * 3_000) / 2 });
});

test("[K15] a stage that is not declared well is refused, with every problem at once", () => {
  const bad = {
    from: {},
    to: [squares, squares],
    group: "",
    batch: 0,
    retry: { attempts: 0 },
  } as unknown as Parameters<typeof stage>[0];
  assert.throws(
    () => stage(bad),
    (error) => {
      assert.ok(isSluiceError(error, "INVALID_OPTIONS"));
      assert.deepEqual(
        error.problems.map(({ path }) => path),
        ["from", "to", "batch", "map"],
      );
      return true;
    },
  );
  const keyed = { from: numbers, to: squares, group: "", mode: "keyed", batch: 5, map: () => 1 } as const;
  assert.throws(
    () => stage(keyed),
    (error) => {
      assert.ok(isSluiceError(error, "INVALID_OPTIONS"));
      assert.deepEqual(
        error.problems.map(({ path }) => path),
        ["batch", "group"],
      );
      return true;
    },
  );
  for (const mode of ["shared", "broadcast", "unheard of"]) {
    const declared = { from: numbers, to: squares, group: "g", mode, commit: "explicit", map: () => 1 } as never;
    assert.throws(
      () => stage(declared),
      (error) =>
        isSluiceError(error, "INVALID_OPTIONS") &&
        ["mode", "commit"].every((path) => error.problems.some((one) => one.path === path)),
    );
  }
  const twice = stage({ from: numbers, to: squares, group: "same", map: () => 1 });
  const also = consumer(numbers, { group: "same", handler: () => undefined });
  assert.throws(
    () => app({ stages: [twice], consumers: [also] }),
    (error) => isSluiceError(error, "INVALID_OPTIONS"),
  );
});
