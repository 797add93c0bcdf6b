import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { app, consumer, fixed, topic } from "sluice";
import { z } from "zod";
import { count, Inbox, world } from "./harness.ts";

const steps = topic("steps", {
  schema: z.object({ key: z.string(), number: z.number() }),
  key: (step) => step.key,
  partitions: 4,
});

interface Seen {
  readonly partition: number;
  readonly offset: number;
  readonly key: string;
  readonly number: number;
}

function grouped<Item>(items: readonly Item[], by: (item: Item) => string | number): Item[][] {
  const groups = new Map<string | number, Item[]>();
  for (const item of items) groups.set(by(item), [...(groups.get(by(item)) ?? []), item]);
  return [...groups.values()];
}

const values = count(400).map((number) => ({ key: `key-${number % 20}`, number }));

test("[M5] first in, first out per partition: ordered mode hands over by offset, without a gap", async () => {
  await using here = await world();
  const inbox = new Inbox<Seen>();
  const ordered = consumer(steps, {
    group: "ordered",
    handler: async (c) => {
      await nextTurn();
      inbox.add({ partition: c.partition, offset: c.offset, key: c.value.key, number: c.value.number });
    },
  });
  await using running = await here.start(app({ consumers: [ordered] }));
  const results = await Promise.all(values.map((value) => running.sluice.send(steps, value)));
  await inbox.until(400);
  const partitions = grouped(inbox.items, (seen) => seen.partition);
  assert.equal(partitions.length, new Set(results.map((result) => result.partition)).size);
  for (const seen of partitions) {
    assert.deepEqual(
      seen.map(({ offset }) => offset),
      count(seen.length),
    );
    assert.deepEqual(
      seen.map(({ number }) => number),
      seen.map(({ number }) => number).sort((left, right) => left - right),
      "one producer's sends to a partition keep their order",
    );
  }
});

test("[M5] first in, first out per key: keyed mode never runs two of a key at once, nor out of order", async () => {
  await using here = await world();
  const inbox = new Inbox<Seen>();
  const running = new Set<string>();
  let together = 0;
  const keyed = consumer(steps, {
    group: "keyed",
    mode: "keyed",
    concurrency: 8,
    handler: async (c) => {
      assert.equal(running.has(c.value.key), false, "two messages of one key ran at once");
      running.add(c.value.key);
      together = Math.max(together, running.size);
      for (let turn = 0; turn < c.value.number % 3; turn += 1) await nextTurn();
      running.delete(c.value.key);
      inbox.add({ partition: c.partition, offset: c.offset, key: c.value.key, number: c.value.number });
    },
  });
  await using started = await here.start(app({ consumers: [keyed] }));
  await started.sluice.sendBatch(steps, values);
  await inbox.until(400);
  assert.ok(together > 1, "different keys run side by side");
  const keys = grouped(inbox.items, (seen) => seen.key);
  assert.equal(keys.length, 20);
  for (const seen of keys) {
    assert.deepEqual(
      seen.map(({ number }) => number),
      values.filter(({ key }) => key === seen[0]?.key).map(({ number }) => number),
    );
  }
});

test("[M5] a message that fails is handed over again before the next of its key", async () => {
  await using here = await world();
  const inbox = new Inbox<string>();
  const keyed = consumer(steps, {
    group: "failing",
    mode: "keyed",
    retry: { attempts: 3, backoff: fixed("20ms") },
    handler: (c) => {
      inbox.add(`${c.value.number} attempt ${c.attempt}`);
      if (c.value.number === 0 && c.attempt < 3) throw new Error("not yet");
    },
  });
  await using running = await here.start(app({ consumers: [keyed] }));
  await running.sluice.sendBatch(
    steps,
    count(3).map((number) => ({ key: "one", number })),
  );
  assert.deepEqual(await inbox.until(5), ["0 attempt 1", "0 attempt 2", "0 attempt 3", "1 attempt 1", "2 attempt 1"]);
});
