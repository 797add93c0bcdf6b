import { expect, setDefaultTimeout, test } from "bun:test";
import { eventually } from "@sluice/testkit";
import { during, killBackends } from "../invariants/rig.ts";
import { ordersPlaced, paymentEvents, type Service, startService, stockEvents, type Trouble } from "./saga-services.ts";

setDefaultTimeout(60_000);

const orders = 30;
const [stockOfEach, balanceOfEach] = [8, 36];
const items = ["lamp", "chair", "table"];
const customers = ["ada", "bob", "eve"];

/** Three services, each with a database of its own, that together sell things. */
async function openShop(
  trouble: Trouble,
): Promise<{ order: Service; stock: Service; payment: Service } & AsyncDisposable> {
  const order = await startService(
    "order",
    ordersPlaced,
    "create table purchase (id text primary key, amount integer not null, status text not null)",
    trouble,
  );
  const stock = await startService(
    "stock",
    stockEvents,
    `create table stock (item text primary key, available integer not null check (available >= 0));
     create table reservation ("order" text not null, item text not null, state text not null)`,
    trouble,
  );
  const payment = await startService(
    "payment",
    paymentEvents,
    `create table account (customer text primary key, balance integer not null check (balance >= 0));
     create table payment ("order" text not null, customer text not null, amount integer not null)`,
    trouble,
  );
  for (const item of items) await stock.sql`insert into stock values (${item}, ${stockOfEach})`;
  for (const customer of customers) await payment.sql`insert into account values (${customer}, ${balanceOfEach})`;

  await stock.listen(order, ordersPlaced, async (placed, tx) => {
    const held =
      await tx`update stock set available = available - 1 where item = ${placed.item} and available > 0 returning item`;
    if (held.length > 0) await tx`insert into reservation values (${placed.order}, ${placed.item}, 'held')`;
    const kind = held.length > 0 ? ("reserved" as const) : ("rejected" as const);
    await stock.told.sluice.send(stockEvents, { ...placed, kind }, { tx });
  });
  await payment.listen(stock, stockEvents, async ({ kind: answer, ...placed }, tx) => {
    if (answer === "rejected") return;
    const { order: id, customer, amount } = placed;
    const paid =
      await tx`update account set balance = balance - ${amount} where customer = ${customer} and balance >= ${amount} returning customer`;
    if (paid.length > 0) await tx`insert into payment values (${id}, ${customer}, ${amount})`;
    const kind = paid.length > 0 ? ("paid" as const) : ("refused" as const);
    await payment.told.sluice.send(paymentEvents, { ...placed, kind }, { tx });
  });
  // What was taken is given back where the money did not come.
  await stock.listen(payment, paymentEvents, async ({ order: id, item, kind }, tx) => {
    await tx`update reservation set state = ${kind === "paid" ? "taken" : "released"} where "order" = ${id}`;
    if (kind === "refused") await tx`update stock set available = available + 1 where item = ${item}`;
  });
  await order.listen(stock, stockEvents, async ({ order: id, kind }, tx) => {
    if (kind === "rejected") await tx`update purchase set status = 'cancelled' where id = ${id}`;
  });
  await order.listen(payment, paymentEvents, async ({ order: id, kind }, tx) => {
    await tx`update purchase set status = ${kind === "paid" ? "paid" : "cancelled"} where id = ${id}`;
  });
  return {
    order,
    stock,
    payment,
    async [Symbol.asyncDispose]() {
      const services = [order, payment, stock];
      // They listen to each other's databases.
      await Promise.all(services.map((service) => service.stop()));
      for (const service of services) await service[Symbol.asyncDispose]();
    },
  };
}

type Shop = Awaited<ReturnType<typeof openShop>>;

/** Places the orders one after the other, each in a transaction with its message. One that fails is placed again. */
async function placeOrders({ order }: Shop): Promise<void> {
  for (let number = 0; number < orders; number += 1) {
    const placed = {
      order: `order-${number}`,
      item: items[number % items.length] ?? "",
      customer: customers[Math.floor(number / 3) % customers.length] ?? "",
      amount: 3 + (number % 5),
    };
    const place = order.transaction(async (tx) => {
      const fresh = await tx`
        insert into purchase values (${placed.order}, ${placed.amount}, 'placed') on conflict do nothing returning id`;
      if (fresh.length > 0) await order.told.sluice.send(ordersPlaced, placed, { tx });
    });
    // Whether it committed or not: the order's own number tells.
    if (
      !(await place.then(
        () => true,
        () => false,
      ))
    )
      number -= 1;
  }
}

const idle = async ({ sql }: Service) => {
  const [row] = await sql<{ open: number }[]>`
    select (select coalesce(sum(lag), 0) from sluice.lag)::integer + (select count(*) from sluice.outbox)::integer
      + (select count(*) from sluice.retries)::integer as open`;
  return row?.open === 0;
};

/** All orders are decided, and nobody has anything left to do. */
async function settled(shop: Shop): Promise<void> {
  await eventually(
    "every order is decided and every service idle",
    async () => {
      const open = await shop.order.sql`select from purchase where status = 'placed' limit 1`;
      const services = await Promise.all([shop.order, shop.stock, shop.payment].map(idle));
      return open.length === 0 && services.every(Boolean);
    },
    30_000,
  );
}

/** Everything that does not add up, over all three databases. */
async function imbalances({ order, stock, payment }: Shop): Promise<string[]> {
  const wrong: string[] = [];
  const check = (holds: boolean, sentence: string) => {
    if (!holds) wrong.push(sentence);
  };
  const purchases = await order.sql<{ id: string; amount: number; status: string }[]>`select * from purchase`;
  const reservations = await stock.sql<{ order: string; item: string; state: string }[]>`select * from reservation`;
  const payments = await payment.sql<{ order: string; amount: number }[]>`select * from payment`;
  check(purchases.length === orders, `${purchases.length} orders of ${orders}`);
  for (const { id, amount, status } of purchases) {
    const held = reservations
      .filter((one) => one.order === id)
      .map(({ state }) => state)
      .join();
    const paid = payments
      .filter((one) => one.order === id)
      .map((one) => one.amount)
      .join();
    const sentence = `${id} is ${status}, stock ${held || "none"}, payment ${paid || "none"}`;
    const fits =
      status === "paid"
        ? held === "taken" && paid === `${amount}`
        : status === "cancelled" && ["", "released"].includes(held) && paid === "";
    check(fits, sentence);
  }
  for (const { item, available } of await stock.sql<{ item: string; available: number }[]>`select * from stock`) {
    const taken = reservations.filter((one) => one.item === item && one.state === "taken").length;
    check(available + taken === stockOfEach, `${item}: ${available} there and ${taken} taken, of ${stockOfEach}`);
  }
  const [money] = await payment.sql<{ balances: number; payments: number }[]>`
    select (select sum(balance) from account)::integer as balances, (select coalesce(sum(amount), 0) from payment)::integer as payments`;
  const whole = customers.length * balanceOfEach;
  check(
    (money?.balances ?? 0) + (money?.payments ?? 0) === whole,
    `${money?.balances} in accounts and ${money?.payments} paid, of ${whole}`,
  );
  for (const [teller, name, listeners] of [
    [order, ordersPlaced.name, [stock]],
    [stock, stockEvents.name, [payment, order]],
    [payment, paymentEvents.name, [stock, order]],
  ] as const) {
    const told = await teller.sql<{ id: string }[]>`select id from ${teller.sql(`topics.${name}`)} order by 1`;
    check(told.length > 0, `${name} is empty`);
    for (const { name: listener, sql } of listeners) {
      const heard = await sql<{ id: string }[]>`select id from inbox where source = ${name} order by 1`;
      check(
        told.map(({ id }) => id).join() === heard.map(({ id }) => id).join(),
        `${listener} handled ${heard.length} of ${told.length} ${name}`,
      );
    }
  }
  return wrong;
}

/** Throws each `every`-th time, before commits and after them in turn. */
function strikes(every: number): Trouble & { readonly count: () => number } {
  let [calls, count] = [0, 0];
  return {
    count: () => count,
    strike(where) {
      calls += 1;
      if (calls % every !== 0) return;
      count += 1;
      throw new Error(`struck ${where} the commit`);
    },
  };
}

test("[U6] order, stock and payment, each with its own database: every order is paid with its stock, or cancelled with it back", async () => {
  // An odd number: so that commits are struck before and after.
  const trouble = strikes(7);
  await using shop = await openShop(trouble);
  let kills = 0;
  const services = [shop.order, shop.stock, shop.payment];
  const working = placeOrders(shop).then(() => settled(shop));
  await during(working, async () => {
    const service = services[kills % services.length];
    kills += 1;
    if (service === undefined) return;
    // Its own connections, and in turn those over which the others listen to it, and what it tells with.
    await killBackends(service.sql, `${service.name} own`);
    if (kills % 4 === 0) await killBackends(service.sql, `sluice `);
    if (kills % 6 === 0) await killBackends(service.sql, `${service.name} tells`);
    const done = await shop.order.sql`select from purchase where status <> 'placed'`;
    await Promise.race([
      working,
      eventually(
        "another order is decided",
        async () => {
          const now = await shop.order.sql`select from purchase where status <> 'placed'`;
          return now.length > done.length;
        },
        30_000,
      ).catch(() => undefined),
    ]);
  });
  expect(await imbalances(shop)).toEqual([]);
  const statuses = await shop.order.sql<{ status: string; count: number }[]>`
    select status, count(*)::integer as count from purchase group by 1 order by 1`;
  // Stock and money are both short: it is refused here and there.
  expect(statuses.map(({ status }) => status)).toEqual(["cancelled", "paid"]);
  expect(await shop.stock.sql`select from reservation where state = 'released'`).not.toHaveLength(0);
  expect(trouble.count()).toBeGreaterThan(10);
  expect(kills).toBeGreaterThan(3);
});

test("[U6] the check sees services that forget what they have handled", async () => {
  await using shop = await openShop({ ...strikes(7), forgetful: true });
  await placeOrders(shop);
  await settled(shop);
  expect((await imbalances(shop)).length).toBeGreaterThan(3);
});
