import { expect, test } from "bun:test";
import { openDatabase } from "@sluice/app-kit";
import { testDatabase } from "@sluice/testkit";
import { connect, silentLogger } from "sluice";
import { openSale, payOrder, placeOrder, returnUnpaid, type Transaction } from "./sale.ts";
import { auditOf } from "./scenarios/queued.ts";
import { orders, paymentDeadlines } from "./topics.ts";

/** The tables and topics without any process at work. */
async function openTables() {
  await using starting = new AsyncDisposableStack();
  const { url } = starting.use(await testDatabase());
  const schema = new URL("./schema.sql", import.meta.url);
  const database = await openDatabase({ url, name: "flash-sale", schema, connections: 20, logger: silentLogger });
  starting.defer(() => database.close());
  await (await connect({ url, topics: [orders, paymentDeadlines], logger: silentLogger })).close();
  const parts = starting.move();
  return { database, [Symbol.asyncDispose]: () => parts.disposeAsync() };
}

type Tables = Awaited<ReturnType<typeof openTables>>;

/** Sixty buyers at once, and the same again; then half of them pay while the time of all is over. */
async function crowd({ database }: Tables, stock: number) {
  const sale = await openSale(database, stock, 60_000);
  const all = Array.from({ length: 120 }, (_, index) => ({ sale, buyer: `buyer-${index % 60}` }));
  const inTransaction = (work: (tx: Transaction) => Promise<unknown>) =>
    database.orm.transaction(async (tx) => void (await work(tx)));
  await Promise.all(all.map((order) => inTransaction((tx) => placeOrder(tx, order))));
  await Promise.all([
    ...all.filter((_, index) => index % 2 === 0).map((order) => inTransaction((tx) => payOrder(tx, order))),
    ...all.map((order) => inTransaction((tx) => returnUnpaid(tx, order))),
  ]);
  return await auditOf(database, sale);
}

test("[U3] with everybody at once nothing is oversold, the stock is never below zero, and nobody has two", async () => {
  await using tables = await openTables();
  for (const stock of [1, 50]) {
    const audit = await crowd(tables, stock);
    expect(audit.sold).toBeLessThanOrEqual(stock);
    expect(audit.lowest).toBe(0);
    expect([audit.several, audit.counter]).toEqual([0, audit.atEnd]);
  }
}, 60_000);

test("[U3] planted: without the lock the same item is given twice, and the check sees it", async () => {
  await using tables = await openTables();
  await tables.database.sql`
    create or replace function flash_sale.lock_sale(p_sale integer) returns void language sql as 'select pg_sleep(0.001)'`;
  // Without the lock, the constraint is what is left: it refuses, and takes the order with it.
  const failure = await crowd(tables, 7).catch((error: unknown) => error);
  const seen = failure instanceof Error ? "refused by the constraint" : "sold";
  await tables.database.sql`alter table flash_sale.sales drop constraint sales_in_stock_range`;
  const audit = await crowd(tables, 7);
  expect([seen, audit.lowest < 0]).toEqual(["refused by the constraint", true]);
}, 60_000);

test("[U3] planted: without the unique key a buyer has two orders, and the check sees it", async () => {
  await using tables = await openTables();
  await tables.database.sql`alter table flash_sale.orders drop constraint orders_pkey`;
  const audit = await crowd(tables, 100);
  expect(audit.several).toBe(60);
}, 60_000);
