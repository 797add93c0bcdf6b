import assert from "node:assert/strict";
import { test } from "node:test";
import { app, bytes, consumer, isSluiceError, pattern, topic } from "sluice";
import { z } from "zod";
import { caughtUp, eventually, Inbox, recordingLogger, world } from "./harness.ts";

const paid = (name: string) => topic(name, { schema: z.number(), partitions: 2 });

test("[Q8] [Q1] a pattern's consumer gets the messages of all topics that match, also of one that is made later", async () => {
  await using here = await world();
  const inbox = new Inbox<string>();
  const all = consumer(pattern("orders.*.paid", { schema: z.number() }), {
    group: "bookkeeping",
    handler: (c) => inbox.add(`${c.topic} ${c.value satisfies number}`),
  });
  await using sender = await here.connect();
  await sender.send(paid("orders.eu.paid"), 1);
  await sender.send(paid("orders.eu.open"), 2);
  await using running = await here.start(app({ consumers: [all] }));
  assert.deepEqual(await inbox.until(1), ["orders.eu.paid 1"]);
  // Made, and sent to, while the app runs: what comes before it is found is not lost.
  await sender.send(paid("orders.us.paid"), 3);
  await sender.send(paid("orders.us.eu.paid"), 4);
  assert.deepEqual(await inbox.until(2), ["orders.eu.paid 1", "orders.us.paid 3"]);
  await running.sluice.send(paid("orders.us.paid"), 5);
  assert.deepEqual((await inbox.until(3)).at(-1), "orders.us.paid 5");
  await caughtUp(here.sql, "bookkeeping");
  const topics = await here.sql`select distinct topic from sluice.lag where "group" = 'bookkeeping' order by 1`;
  assert.deepEqual(
    topics.map((row) => row["topic"]),
    ["orders.eu.paid", "orders.us.paid"],
  );
});

test("[Q8] later topics begin at the earliest message although the consumer starts at the latest", async () => {
  await using here = await world();
  const inbox = new Inbox<string>();
  const news = consumer(pattern("news.#", { schema: z.number() }), {
    group: "late",
    start: "latest",
    handler: (c) => inbox.add(`${c.topic} ${c.value}`),
  });
  await using sender = await here.connect();
  await sender.send(paid("news"), 1);
  await using running = await here.start(app({ consumers: [news] }));
  await sender.send(paid("news.sports"), 2);
  await inbox.until(1);
  await running.sluice.send(paid("news"), 3);
  assert.deepEqual(await inbox.until(2), ["news.sports 2", "news 3"]);
});

test("[Q8] members of one group share the topics of a pattern, and a consumer that names one of them has it", async () => {
  await using here = await world();
  const inbox = new Inbox<string>();
  const declare = (member: string) => [
    consumer(pattern("jobs.*", { schema: z.number() }), {
      group: "jobs",
      handler: (c) => inbox.add(`${c.topic} ${c.value} at ${member}`),
    }),
    consumer(paid("jobs.special"), { group: "jobs", handler: (c) => inbox.add(`${c.topic} ${c.value} by name`) }),
  ];
  await using one = await here.start(app({ name: "one", consumers: declare("one") }));
  await using two = await here.start(app({ name: "two", consumers: declare("two") }));
  await one.sluice.send(paid("jobs.mail"), 0, { partition: 0 });
  await eventually("each member has a partition", async () => {
    const rows = await here.sql`
      select count(distinct owner) from sluice.lag where topic = 'jobs.mail' having count(distinct owner) = 2`;
    return rows[0];
  });
  for (const partition of [0, 1]) await two.sluice.send(paid("jobs.mail"), 1, { partition });
  await two.sluice.send(paid("jobs.special"), 9);
  const seen = await inbox.until(4);
  assert.equal(seen.filter((line) => line.startsWith("jobs.mail 1")).length, 2);
  assert.ok(seen.includes("jobs.special 9 by name"));
  for (const member of ["one", "two"])
    assert.ok(seen.some((line) => line.startsWith("jobs.mail 1") && line.endsWith(member)));
});

test("[Q8] a topic of the pattern that holds another kind of values is left out, and that is told", async () => {
  await using here = await world();
  await using sender = await here.connect();
  await sender.send(topic("files.raw", { schema: bytes() }), new Uint8Array([1]));
  await sender.send(paid("files.names"), 7);
  const inbox = new Inbox<string>();
  const files = consumer(pattern("files.*", { schema: z.number() }), {
    group: "files",
    handler: (c) => inbox.add(c.topic),
  });
  const logger = recordingLogger();
  await using running = await here.start(app({ consumers: [files] }), { logger });
  assert.deepEqual(await inbox.until(1), ["files.names"]);
  const told = logger.lines.filter(({ message }) => message.includes("left out"));
  assert.deepEqual(
    told.map(({ fields }) => fields["topic"]),
    ["files.raw"],
  );
  void running;
});

test("[Q6] a send that asks for a group fails when none consumes the topic, and writes nothing", async () => {
  await using here = await world();
  const alerts = paid("alerts");
  await using sender = await here.connect();
  const isRefused = (error: unknown) => isSluiceError(error, "NO_GROUP") && error.retryable;
  await assert.rejects(sender.send(alerts, 1, { requireGroup: true }), isRefused);
  await assert.rejects(sender.sendBatch(alerts, [1, 2], { requireGroup: true }), isRefused);
  await here.sql.begin(async (tx) => {
    await assert.rejects(sender.send(alerts, 1, { requireGroup: true, tx }), isRefused);
  });
  // A group of another topic does not count.
  const inbox = new Inbox<number>();
  const other = consumer(paid("other"), { group: "watch", handler: () => undefined });
  await using first = await here.start(app({ name: "first", consumers: [other] }));
  await assert.rejects(sender.send(alerts, 1, { requireGroup: true }), isRefused);
  const [row] = await here.sql`select count(*)::int as count from topics.alerts`;
  assert.equal(row?.["count"], 0);
  const watch = consumer(alerts, { group: "watch", handler: (c) => inbox.add(c.value) });
  await using second = await here.start(app({ name: "second", consumers: [watch] }));
  assert.equal((await sender.send(alerts, 2, { requireGroup: true })).status, "appended");
  await sender.sendBatch(alerts, [3, 4], { requireGroup: true });
  await here.sql.begin((tx) => sender.send(alerts, 5, { requireGroup: true, tx }));
  assert.deepEqual([...(await inbox.until(4))].sort(), [2, 3, 4, 5]);
  void [first, second];
});

test("[Q6] a topic that is not there is told when this process may make none", async () => {
  await using here = await world();
  await using sluice = await here.connect({ createTopics: false });
  await assert.rejects(sluice.send(paid("nowhere"), 1), (error) => isSluiceError(error, "UNKNOWN_TOPIC"));
  await assert.rejects(sluice.send(paid("nowhere"), 1, { requireGroup: true }), (error) =>
    isSluiceError(error, "UNKNOWN_TOPIC"),
  );
});
