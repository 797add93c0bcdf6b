import assert from "node:assert/strict";
import { test } from "node:test";
import { app, type ConsumerOptions, consumer, topic } from "sluice";
import { z } from "zod";
import { count, Inbox, world } from "./harness.ts";

const work = topic("work", { schema: z.object({ number: z.number() }), partitions: 2 });

/** Runs messages of one partition through a handler that holds each until told; tells how many were held at once, at most. */
async function mostAtOnce(options: Pick<ConsumerOptions<{ number: number }>, "mode" | "concurrency" | "prefetch">) {
  await using here = await world();
  const held: (() => void)[] = [];
  const arrived = new Inbox<number>();
  let most = 0;
  const holding = consumer(work, {
    group: "holding",
    ...options,
    handler: async (c) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      held.push(resolve);
      most = Math.max(most, held.length);
      arrived.add(c.value.number);
      await promise;
    },
  });
  await using running = await here.start(app({ consumers: [holding] }));
  await running.sluice.sendBatch(
    work,
    count(30).map((number) => ({ number })),
    { partition: 0 },
  );
  // Each is let go only once as many are held as ever will be: the bound is reached, and a breach would be seen.
  const expected = Math.min(options.concurrency ?? 1, options.prefetch ?? 30);
  for (const gone of count(30)) {
    await arrived.until(Math.min(30, gone + expected));
    held.shift()?.();
  }
  return most;
}

test("[R9] concurrency bounds the messages of a partition that are in the handler at once", async () => {
  assert.equal(await mostAtOnce({ mode: "keyed", concurrency: 5 }), 5);
});

test("[R9] prefetch bounds what waits in memory, and so what can run", async () => {
  assert.equal(await mostAtOnce({ mode: "keyed", concurrency: 10, prefetch: 3 }), 3);
});

test("[R9] ordered mode handles one message of a partition at a time", async () => {
  assert.equal(await mostAtOnce({ mode: "ordered" }), 1);
});

test("[R9] partitions run side by side", async () => {
  await using here = await world();
  const both = new Inbox<number>();
  const meeting = consumer(work, {
    group: "meeting",
    // Neither goes on before the other has come.
    handler: async (c) => {
      both.add(c.partition);
      await both.until(2);
    },
  });
  await using running = await here.start(app({ consumers: [meeting] }));
  await Promise.all([0, 1].map((partition) => running.sluice.send(work, { number: partition }, { partition })));
  assert.deepEqual([...(await both.until(2))].sort(), [0, 1]);
});
