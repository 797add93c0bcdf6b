import assert from "node:assert/strict";
import { test } from "node:test";
import { app, consumer, topic } from "sluice";
import { z } from "zod";
import { caughtUp, count, Inbox, world } from "./harness.ts";

const news = topic("news", { schema: z.object({ number: z.number() }), partitions: 3 });

function reader(group: string, inbox: Inbox<number>, start?: "earliest" | "latest") {
  const handler = (c: { readonly value: { readonly number: number } }) => inbox.add(c.value.number);
  return consumer(news, { group, handler, ...(start === undefined ? {} : { start }) });
}

const sorted = (numbers: readonly number[]) => [...numbers].sort((left, right) => left - right);

test("[M2] two groups each get every message", async () => {
  await using here = await world();
  const [mail, text] = [new Inbox<number>(), new Inbox<number>()];
  await using running = await here.start(app({ consumers: [reader("mail", mail), reader("text", text)] }));
  await running.sluice.sendBatch(
    news,
    count(50).map((number) => ({ number })),
  );
  assert.deepEqual(sorted(await mail.until(50)), count(50));
  assert.deepEqual(sorted(await text.until(50)), count(50));
});

test("[M2] publishing needs no subscriber, and a late group starts at the beginning", async () => {
  await using here = await world();
  {
    await using sluice = await here.connect();
    for (const number of count(10)) await sluice.send(news, { number });
  }
  const late = new Inbox<number>();
  await using running = await here.start(app({ consumers: [reader("late", late)] }));
  await running.sluice.send(news, { number: 10 });
  assert.deepEqual(sorted(await late.until(11)), count(11));
});

test("[M2] a group that asks for it starts at the end instead", async () => {
  await using here = await world();
  const [fresh, all] = [new Inbox<number>(), new Inbox<number>()];
  await using sluice = await here.connect();
  for (const number of count(10)) await sluice.send(news, { number });
  await using running = await here.start(app({ consumers: [reader("fresh", fresh, "latest"), reader("all", all)] }));
  await running.sluice.send(news, { number: 10 });
  await all.until(11);
  await caughtUp(here.sql, "fresh");
  assert.deepEqual(fresh.items, [10]);
});
