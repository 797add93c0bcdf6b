import assert from "node:assert/strict";
import { test } from "node:test";
import { app, consumer, topic } from "sluice";
import { z } from "zod";
import { caughtUp, count, eventually, Inbox, world } from "./harness.ts";

const jobs = topic("jobs", { schema: z.object({ number: z.number() }), partitions: 2 });
const news = topic("news", { schema: z.object({ number: z.number() }), partitions: 2 });
const squares = topic("squares", { schema: z.number(), replies: z.number(), partitions: 2 });

const sorted = (numbers: readonly number[]) => [...numbers].sort((left, right) => left - right);
const numbered = (to: number) => count(to).map((number) => ({ number }));

test("[Q8] push and pull, publish and subscribe, request and reply: one API, one app, one connection", async () => {
  await using here = await world();
  const [pulled, all, mail] = [new Inbox<string>(), new Inbox<string>(), new Inbox<number>()];
  const process = (name: string) =>
    app({
      name,
      topics: [jobs, news],
      consumers: [
        // PULL: whoever has a hand free takes the next one, and nobody else does.
        consumer(jobs, { group: "pull", mode: "shared", handler: (c) => pulled.add(`${c.value.number}`) }),
        // SUB: every process gets every message.
        consumer(news, {
          group: "sub",
          mode: "broadcast",
          start: "earliest",
          handler: (c) => all.add(`${name} ${c.value.number}`),
        }),
        // REP: one of them answers.
        consumer(squares, { group: "rep", mode: "shared", handler: (c) => void c.reply(c.value ** 2) }),
      ],
    });
  await using one = await here.start(process("one"));
  await using _two = await here.start(process("two"));
  // And a subscription that several processes could share, durable as groups are.
  await using _three = await here.start(
    app({ consumers: [consumer(news, { group: "mail", handler: (c) => mail.add(c.value.number) })] }),
  );
  const { sluice } = one;
  await sluice.sendBatch(jobs, numbered(40)); // PUSH
  await sluice.sendBatch(news, numbered(20)); // PUB
  const answers = await Promise.all(count(10).map((number) => sluice.request(squares, number))); // REQ
  assert.deepEqual(
    answers,
    count(10).map((number) => number ** 2),
  );
  const once = (await pulled.until(40)).map(Number);
  assert.deepEqual(sorted(once), count(40));
  const everywhere = await all.until(40);
  for (const name of ["one", "two"]) {
    const own = everywhere.filter((line) => line.startsWith(name)).map((line) => Number(line.split(" ")[1]));
    assert.deepEqual(sorted(own), count(20));
  }
  assert.deepEqual(sorted(await mail.until(20)), count(20));
  await caughtUp(here.sql, "mail");
  assert.equal(pulled.items.length, 40);
});

test("[Q7] a durable subscription gets what came while it was away, and a shared one splits it among its members", async () => {
  await using here = await world();
  await using sluice = await here.connect({ topics: [news] });
  const [durable, shared] = [new Inbox<number>(), new Inbox<string>()];
  const durably = () =>
    app({
      consumers: [consumer(news, { group: "durable", start: "latest", handler: (c) => durable.add(c.value.number) })],
    });
  await sluice.send(news, { number: -1 });
  {
    await using _subscribed = await here.start(durably());
    await sluice.send(news, { number: 0 });
    await durable.until(1);
    await caughtUp(here.sql, "durable");
  }
  await sluice.sendBatch(news, numbered(10).slice(1));
  const [together, met] = [new Set<string>(), Promise.withResolvers<void>()];
  const member = (name: string) =>
    app({
      name,
      consumers: [
        consumer(news, {
          group: "shared",
          mode: "shared",
          concurrency: 2,
          // None goes on before both have a message in hand.
          handler: async (c) => {
            together.add(name);
            if (together.size === 2) met.resolve();
            await met.promise;
            shared.add(`${name} ${c.value.number}`);
          },
        }),
      ],
    });
  await using _again = await here.start(durably());
  assert.deepEqual(sorted(await durable.until(10)), count(10));
  await using _left = await here.start(member("left"));
  await using _right = await here.start(member("right"));
  const lines = await shared.until(11);
  assert.deepEqual(sorted(lines.map((line) => Number(line.split(" ")[1]))), [-1, ...count(10)]);
  assert.deepEqual([...new Set(lines.map((line) => line.split(" ")[0]))].sort(), ["left", "right"]);
});

test("[Q7] a queue is browsed without taking anything from anybody, also while its messages are in hand", async () => {
  await using here = await world();
  const [taken, goOn] = [new Inbox<number>(), Promise.withResolvers<void>()];
  const working = consumer(jobs, {
    group: "workers",
    mode: "shared",
    handler: async (c) => {
      taken.add(c.value.number);
      await goOn.promise;
    },
  });
  await using running = await here.start(app({ consumers: [working] }));
  await running.sluice.sendBatch(jobs, numbered(6), { headers: { kind: "browsed" } });
  await taken.until(1);
  const browsed: number[] = [];
  for (const partition of [0, 1]) {
    for await (const records of running.sluice.read(jobs, { partition })) {
      browsed.push(...records.map(({ value }) => value.number));
    }
  }
  assert.deepEqual(sorted(browsed), count(6));
  // With a selector, from any SQL client.
  const rows = await here.sql`
    select (value->>'number')::int as number from topics.jobs
    where headers->>'kind' = 'browsed' and (value->>'number')::int >= 4 order by 1`;
  assert.deepEqual(
    rows.map(({ number }) => number as number),
    [4, 5],
  );
  goOn.resolve();
  assert.deepEqual(sorted(await taken.until(6)), count(6));
  await eventually("every message was taken by the group once", async () => {
    const [row] = await here.sql<
      { lag: number }[]
    >`select sum(lag)::int as lag from sluice.lag where "group" = 'workers'`;
    return row?.lag === 0 ? true : undefined;
  });
  assert.equal(taken.items.length, 6);
});
