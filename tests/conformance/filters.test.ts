import assert from "node:assert/strict";
import { test } from "node:test";
import { app, bytes, consumer, isSluiceError, type Sluice, topic } from "sluice";
import { z } from "zod";
import { caughtUp, count, Inbox, world } from "./harness.ts";

const orders = topic("orders", { schema: z.number(), partitions: 2, key: (number) => `k-${number}` });

test("[R6] a tag is the header of that name, for senders, handlers and in SQL", async () => {
  await using here = await world();
  const inbox = new Inbox<{ value: number; tag: string | null; headers: object }>();
  const all = consumer(orders, {
    group: "all",
    handler: ({ value, tag, headers }) => inbox.add({ value, tag, headers }),
  });
  await using running = await here.start(app({ consumers: [all] }));
  await running.sluice.send(orders, 1, { tag: "paid", headers: { region: "eu-west" }, partition: 0 });
  await running.sluice.send(orders, 2, { headers: { tag: "paid" }, partition: 0 });
  await running.sluice.send(orders, 3, { partition: 0 });
  await running.sluice.send(orders, 4, { tag: "paid", headers: { tag: "paid" }, partition: 0 });
  assert.deepEqual(await inbox.until(4), [
    { value: 1, tag: "paid", headers: { region: "eu-west", tag: "paid" } },
    { value: 2, tag: "paid", headers: { tag: "paid" } },
    { value: 3, tag: null, headers: {} },
    { value: 4, tag: "paid", headers: { tag: "paid" } },
  ]);
  const rows = await here.sql`select value from topics.orders where headers ->> 'tag' = 'paid' order by "offset"`;
  assert.deepEqual(
    rows.map((row) => row["value"]),
    [1, 2, 4],
  );
  await assert.rejects(running.sluice.send(orders, 5, { tag: "a", headers: { tag: "b" } }), (error) =>
    isSluiceError(error, "INVALID_VALUE"),
  );
});

/** Sends 0 to 999, each with its headers. */
async function sendNumbers(sluice: Sluice): Promise<void> {
  await Promise.all(
    count(1_000).map((number) =>
      sluice.send(orders, number, {
        headers: {
          tag: number % 10 === 0 ? "paid" : number % 10 === 1 ? "refunded" : "open",
          amount: String(number),
          region: number % 2 === 0 ? "eu-west" : "us-east",
          ...(number % 3 === 0 ? { test: "yes" } : {}),
        },
      }),
    ),
  );
}

test("[R6] [Q7] a handler gets the messages its filter lets through, and the others are done", async () => {
  await using here = await world();
  const filters: Readonly<Record<string, (number: number) => boolean>> = {
    "paid || refunded": (number) => number % 10 < 2,
    "tag in ('paid', 'refunded') and amount >= 100 and region like 'eu-%' and not exists(test)": (number) =>
      number % 10 === 0 && number >= 100 && number % 3 !== 0,
    "amount between 300 and 309 or key = 'k-7'": (number) => (number >= 300 && number < 310) || number === 7,
    "tag = 'nothing'": () => false,
  };
  const seen = Object.keys(filters).map(() => new Inbox<number>());
  const consumers = Object.keys(filters).map((filter, index) =>
    consumer(orders, {
      group: filter,
      filter,
      mode: index % 2 === 0 ? "ordered" : "keyed",
      handler: (c) => (seen[index] as Inbox<number>).add(c.value),
    }),
  );
  await using running = await here.start(app({ consumers }));
  await sendNumbers(running.sluice);
  for (const [index, [filter, fits]] of Object.entries(filters).entries()) {
    await caughtUp(here.sql, filter);
    const expected = count(1_000).filter(fits);
    assert.deepEqual(
      [...(seen[index] as Inbox<number>).items].sort((a, b) => a - b),
      expected,
      filter,
    );
  }
});

test("[R6] reading with a filter gives its messages alone, where they are", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  await sendNumbers(sluice);
  const found: number[] = [];
  for (const partition of [0, 1]) {
    for await (const records of sluice.read(orders, { partition, filter: "amount < 10 and tag <> 'open'" })) {
      for (const record of records) {
        assert.equal(record.key, `k-${record.value}`);
        assert.equal(record.headers["amount"], String(record.value));
        const [row] = await here.sql`
          select id, value from topics.orders where partition = ${partition} and "offset" = ${record.offset}`;
        assert.deepEqual({ ...row }, { id: record.id, value: record.value });
        found.push(record.value);
      }
    }
  }
  assert.deepEqual(
    found.sort((a, b) => a - b),
    [0, 1],
  );
  await assert.rejects(
    async () => {
      for await (const _ of sluice.read(orders, { partition: 0, filter: "amount >" }));
    },
    (error) => isSluiceError(error, "INVALID_OPTIONS"),
  );
});

test("[M4] [Q1] one send reaches one group, some, or all, as their filters on its headers say", async () => {
  await using here = await world();
  const inbox = new Inbox<string>();
  const group = (name: string, filter?: string) =>
    consumer(orders, {
      group: name,
      ...(filter === undefined ? {} : { filter }),
      handler: (c) => inbox.add(`${c.value} to ${name}`),
    });
  const consumers = [
    group("mail", "send_to = 'mail' or send_to = 'all' or class = 'notice'"),
    group("sms", "send_to = 'sms' or send_to = 'all' or class = 'notice'"),
    group("audit", "send_to in ('audit', 'all')"),
    group("everything"),
  ];
  await using running = await here.start(app({ consumers }));
  await running.sluice.send(orders, 1, { headers: { send_to: "sms" } });
  await running.sluice.send(orders, 2, { headers: { class: "notice" } });
  await running.sluice.send(orders, 3, { headers: { send_to: "all" } });
  await running.sluice.send(orders, 4);
  for (const { group } of consumers) await caughtUp(here.sql, group);
  assert.deepEqual([...inbox.items].sort(), [
    "1 to everything",
    "1 to sms",
    "2 to everything",
    "2 to mail",
    "2 to sms",
    "3 to audit",
    "3 to everything",
    "3 to mail",
    "3 to sms",
    "4 to everything",
  ]);
});

test("[R6] what SQL sent is filtered alike, whatever its spelling, and what Postgres cannot decode never gets there", async () => {
  await using here = await world();
  const inbox = new Inbox<number>();
  const paid = consumer(orders, { group: "paid", filter: "tag = 'paid'", handler: (c) => inbox.add(c.value) });
  await using running = await here.start(app({ consumers: [paid] }));
  const send = (value: number, headers: string) =>
    here.sql`select sluice.send('orders', value => ${String(value)}::text::json, headers => ${headers}::text::json)`;
  await send(1, '{"tag":"paid"}');
  await send(2, '{"tag":"\\u0070aid"}');
  await send(3, '{"tag":"open", "tag":"paid"}');
  await send(4, '{"tag":"paid", "tag":"open"}');
  await send(5, '{ "tag" : "paid" }');
  for (const odd of ["\\u0000", "\\ud800"]) {
    await assert.rejects(send(6, `{"tag":"${odd}"}`));
    await assert.rejects(send(6, `{"${odd}":"paid"}`));
    await assert.rejects(running.sluice.send(orders, 6, { tag: JSON.parse(`"${odd}"`) }));
  }
  await inbox.until(4);
  await caughtUp(here.sql, "paid");
  assert.deepEqual(
    [...inbox.items].sort((a, b) => a - b),
    [1, 2, 3, 5],
  );
});

test("[R6] explicit commits and a filter: the position passes what was kept back, and nothing else", async () => {
  await using here = await world();
  const lines = topic("lines", { schema: z.number(), partitions: 1 });
  const inbox = new Inbox<number>();
  const held = Promise.withResolvers<void>();
  const some = consumer(lines, {
    group: "some",
    filter: "tag = 'yes'",
    commit: "explicit",
    handler: async (c) => {
      inbox.add(c.value);
      if (c.value === 5) await held.promise;
      await c.commit();
    },
  });
  await using running = await here.start(app({ consumers: [some] }));
  for (const number of count(10)) await running.sluice.send(lines, number, { tag: number === 5 ? "yes" : "no" });
  await inbox.until(1);
  const committed = async () =>
    Number((await here.sql`select committed_offset from sluice.lag where "group" = 'some'`)[0]?.["committed_offset"]);
  assert.ok((await committed()) <= 5);
  held.resolve();
  await caughtUp(here.sql, "some");
  assert.deepEqual(inbox.items, [5]);
});

test("[R6] a topic of bytes is filtered like any other", async () => {
  await using here = await world();
  const images = topic("images", { schema: bytes(), partitions: 1 });
  await using sluice = await here.connect();
  for (const number of count(20)) {
    await sluice.send(images, new Uint8Array([number]), { tag: number === 13 ? "cat" : "dog" });
  }
  const found: number[] = [];
  for await (const records of sluice.read(images, { partition: 0, filter: "cat" })) {
    for (const { value } of records) found.push(value[0] ?? -1);
  }
  assert.deepEqual(found, [13]);
});

test("[R6] a filter that is not written well is refused when the consumer is declared, with all other problems", () => {
  try {
    consumer(orders, { group: "", filter: "tag = 'paid' and amount >", handler: () => undefined });
    assert.fail("it was not refused");
  } catch (error) {
    assert.ok(isSluiceError(error, "INVALID_OPTIONS"));
    assert.deepEqual(
      error.problems.map(({ path }) => path),
      ["group", "filter"],
    );
    assert.match(error.message, /filter: at character 26: expected .* 'text' or a number, found the end/);
  }
});
