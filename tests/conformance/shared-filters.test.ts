import assert from "node:assert/strict";
import { test } from "node:test";
import { app, type ConsumerOptions, consumer, fixed, topic } from "sluice";
import { z } from "zod";
import { count, eventually, Inbox, type World, world } from "./harness.ts";

const orders = topic("orders", { schema: z.object({ number: z.number() }), partitions: 2 });

type Order = { number: number };

function shipping(inbox: Inbox<number>, options: Partial<ConsumerOptions<Order>>, name = "one") {
  const sharing = consumer(orders, {
    group: "shipping",
    mode: "shared",
    handler: (c) => inbox.add(c.value.number),
    ...options,
  });
  return app({ name, consumers: [sharing] });
}

const tags = ["paid", "refunded", "open", "cancelled"];

/** A thousand orders and more, one in four of which is paid; sent in batches of many sizes, each order's tag in a header. */
async function sendOrders(here: World, total: number): Promise<void> {
  await using sluice = await here.connect();
  for (const [from, size] of [
    [0, 1],
    [1, 7],
    [8, 200],
    [208, total - 208],
  ] as const) {
    const records = count(size).map((index) => ({
      value: { number: from + index },
      headers: { tag: tags[(from + index) % 4] ?? "", amount: String(from + index) },
    }));
    await Promise.all(records.map(({ value, headers }) => sluice.send(orders, value, { headers })));
  }
}

function allDone(here: World, group = "shipping"): Promise<true> {
  return eventually("everything is done, and nothing is leased", async () => {
    const [row] = await here.sql<{ lag: number; pending: number }[]>`
      select (select sum(lag)::int from sluice.lag where "group" = ${group}) as lag, (select count(*)::int from sluice.pending) as pending`;
    return row?.lag === 0 && row.pending === 0 ? (true as const) : undefined;
  });
}

/** What two members hand over of 1,200 orders, in order, and how many leases that took. */
async function handedOver(here: World, filter: string | undefined): Promise<number[]> {
  const inbox = new Inbox<number>();
  await using one = await here.start(shipping(inbox, filter === undefined ? {} : { filter }, "one"));
  await using two = await here.start(shipping(inbox, filter === undefined ? {} : { filter }, "two"));
  await sendOrders(here, 1_200);
  await allDone(here);
  void [one, two];
  return [...inbox.items].sort((left, right) => left - right);
}

const isPaid = (number: number) => number % 4 === 0 && number >= 100;

test("[R6][M4] a shared group hands over what its filter lets through, each once, and the rest is done", async () => {
  await using here = await world();
  assert.deepEqual(await handedOver(here, "tag = 'paid' and amount >= 100"), count(1_200).filter(isPaid));
  // In ranges: nothing is left of what was passed over.
  const [row] = await here.sql<{ ranges: number }[]>`
    select sum((select count(*) from unnest(done_above)))::int as ranges from sluice.position`;
  assert.equal(row?.ranges, 0);
});

test("[R6] the check sees a member that has no filter", async () => {
  await using here = await world();
  assert.equal((await handedOver(here, undefined)).length, 1_200);
});

test("[R6] nothing matches: the group passes over everything, and a backlog as well", async () => {
  await using here = await world();
  const inbox = new Inbox<number>();
  {
    await using running = await here.start(shipping(inbox, { filter: "none" }));
    void running;
  }
  await sendOrders(here, 600);
  await using running = await here.start(shipping(inbox, { filter: "none" }));
  await allDone(here);
  assert.deepEqual(inbox.items, []);
  void running;
});

test("[R6][R5] what the filter let through is tried again and redriven whatever its headers are then", async () => {
  await using here = await world();
  const seen = new Inbox<string>();
  const state = { fails: true };
  await using running = await here.start(
    shipping(new Inbox(), {
      filter: "paid",
      retry: { attempts: 2, backoff: fixed("5ms") },
      handler: (c) => {
        seen.add(`${c.value.number} ${c.tag} ${c.attempt}`);
        if (state.fails) throw new Error("no");
      },
    }),
  );
  await sendOrders(here, 212);
  await seen.until(106);
  const dead = await eventually("53 letters", async () => {
    const { letters } = await running.sluice.deadLetters.list({ limit: 100 });
    return letters.length === 53 ? letters : undefined;
  });
  state.fails = false;
  const [first] = dead;
  assert.ok(first !== undefined);
  await running.sluice.deadLetters.edit(first.number, { headers: { tag: "corrected" } });
  await running.sluice.deadLetters.redrive(first.number);
  assert.match((await seen.until(107)).at(-1) ?? "", /corrected 1$/);
  await allDone(here);
});

test("[R6] a member that took a range over from one that was cut off applies the filter, too", async () => {
  await using here = await world();
  const inbox = new Inbox<number>();
  const held = Promise.withResolvers<void>();
  const frozen = await here.start(shipping(new Inbox(), { filter: "paid", handler: () => held.promise }, "frozen"));
  await sendOrders(here, 212);
  await eventually("it holds some", async () =>
    (await here.sql`select from sluice.pending`).length > 0 ? true : undefined,
  );
  await using next = await here.start(shipping(inbox, { filter: "paid" }, "next"));
  await eventually("all that are paid", async () => {
    await here.sql`select sluice.expire_lease(lease)
      from (select lease from sluice.pending where member like 'frozen %' order by lease) held`;
    return new Set(inbox.items).size === 53 ? true : undefined;
  });
  held.resolve();
  await frozen.close();
  await allDone(here);
  assert.ok(inbox.items.every((number) => number % 4 === 0));
  void next;
});
