import assert from "node:assert/strict";
import { test } from "node:test";
import { app, type ConsumerOptions, consumer, fixed, type RunningApp, topic } from "sluice";
import { z } from "zod";
import { count, eventually, Inbox, world } from "./harness.ts";

const prices = topic("prices", {
  schema: z.object({ number: z.number() }),
  key: (price) => String(price.number % 4),
  partitions: 2,
});

type Options = Partial<ConsumerOptions<{ number: number }>> & Pick<ConsumerOptions<{ number: number }>, "handler">;

function listening(options: Options) {
  return app({ consumers: [consumer(prices, { group: "caches", mode: "broadcast", ...options })] });
}

const numbers = (from: number, to: number) => count(to - from).map((number) => ({ number: from + number }));
const sorted = (items: readonly number[]) => [...items].sort((left, right) => left - right);

test("[M3] every member of a broadcast gets every message, each partition in order", async () => {
  await using here = await world();
  const inboxes = [new Inbox<[number, number]>(), new Inbox<[number, number]>()];
  const running: RunningApp[] = [];
  try {
    for (const inbox of inboxes) {
      running.push(await here.start(listening({ handler: (c) => inbox.add([c.partition, c.value.number]) })));
    }
    await running[0]?.sluice.sendBatch(prices, numbers(0, 200));
    for (const inbox of inboxes) {
      const seen = await inbox.until(200);
      assert.deepEqual(sorted(seen.map(([, number]) => number)), count(200));
      for (const partition of [0, 1]) {
        const own = seen.filter(([from]) => from === partition).map(([, number]) => number);
        assert.deepEqual(own, sorted(own));
      }
    }
  } finally {
    for (const one of running) await one.close();
  }
  assert.equal((await here.sql`select from sluice.lag`).length, 0, "a broadcast without a name keeps no position");
});

test("[M3] a member without a name begins at the end, or where it is told to, whenever it starts", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  await sluice.sendBatch(prices, numbers(0, 10));
  for (const round of [1, 2]) {
    const [latest, earliest] = [new Inbox<number>(), new Inbox<number>()];
    await using one = await here.start(listening({ handler: (c) => latest.add(c.value.number) }));
    await using other = await here.start(
      listening({ start: "earliest", handler: (c) => earliest.add(c.value.number) }),
    );
    await sluice.send(prices, { number: 9 + round });
    assert.deepEqual(await latest.until(1), [9 + round]);
    assert.deepEqual(sorted(await earliest.until(10 + round)), count(10 + round));
    void [one, other];
  }
});

test("[M3] a member with a name goes on where it was", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  const run = async (name: string, from: number, to: number) => {
    const inbox = new Inbox<number>();
    await using running = await here.start(
      listening({ instance: name, start: "earliest", handler: (c) => inbox.add(c.value.number) }),
    );
    assert.deepEqual(
      sorted(await inbox.until(to - from)),
      numbers(from, to).map(({ number }) => number),
    );
    void running;
  };
  await sluice.sendBatch(prices, numbers(0, 10));
  await run("one", 0, 10);
  await sluice.sendBatch(prices, numbers(10, 15));
  await run("one", 10, 15);
  await run("two", 0, 15);
  const groups = await here.sql<{ group: string; lag: number }[]>`
    select "group", lag::int from sluice.groups order by "group"`;
  assert.deepEqual(
    [...groups],
    [
      { group: "caches/one", lag: 0 },
      { group: "caches/two", lag: 0 },
    ],
  );
});

test("[M3] a member that fails tries again in order; one letter is kept for all of them", async () => {
  await using here = await world();
  const seen = new Inbox<string>();
  const running: RunningApp[] = [];
  const failing = listening({
    retry: { attempts: 2, backoff: fixed("10ms") },
    handler: (c) => {
      seen.add(`${c.value.number} attempt ${c.attempt}`);
      if (c.value.number === 4) throw new Error("no");
    },
  });
  try {
    for (const _ of count(2)) running.push(await here.start(failing));
    await running[0]?.sluice.sendBatch(prices, [{ number: 0 }, { number: 4 }, { number: 8 }]);
    await seen.until(8);
  } finally {
    for (const one of running) await one.close();
  }
  const expected = ["0 attempt 1", "4 attempt 1", "4 attempt 2", "8 attempt 1"];
  assert.deepEqual([...seen.items].sort(), [...expected, ...expected].sort());
  const letters = await eventually("one letter", async () => {
    const rows = await here.sql`select reason, attempts from sluice.dead_letters where "group" = 'caches'`;
    return rows.length > 0 ? rows : undefined;
  });
  assert.deepEqual([...letters], [{ reason: "exhausted", attempts: 2 }]);
});
