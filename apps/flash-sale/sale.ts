import type { Database } from "@sluice/app-kit";
import { type SQL, sql } from "drizzle-orm";
import type { Order } from "./topics.ts";

/** What has become of an order that the order service has looked at. */
export type OrderState = "reserved" | "waiting" | "paid" | "returned" | "sold-out";

/** Any of drizzle's transactions: a request's own, or a handler's, with which the position of its message commits. */
export type Transaction = Pick<Database["orm"], "execute">;

/** Begins a sale. */
export async function openSale(database: Database, stock: number, payWithinMs: number): Promise<number> {
  const payWithin = `${payWithinMs} milliseconds`;
  const [row] = await database.sql<{ sale: number }[]>`
    select flash_sale.open_sale(${stock}, ${payWithin}::text::interval) as sale`;
  return row?.sale ?? Number.NaN;
}

/**
 * Decides on an order, in SQL (schema.sql): an item if there is one, a place to wait if there is one, else it is sold out. A
 * buyer whose order is decided hears the same again, whoever asks and how often. Null when there is no such sale.
 *
 * The same for the message from the queue and for a request straight to the order service.
 */
export async function placeOrder(tx: Transaction, { sale, buyer }: Order): Promise<OrderState | null> {
  return await stateOf(tx, sql`select flash_sale.place_order(${sale}, ${buyer}) as state`);
}

/** Pays for a reserved item: sold. The state afterwards, whatever it was; null without an order. */
export async function payOrder(tx: Transaction, { sale, buyer }: Order): Promise<OrderState | null> {
  return await stateOf(tx, sql`select flash_sale.pay_order(${sale}, ${buyer}) as state`);
}

/** An item that was not paid in time goes to whoever waits longest, or back into the stock. */
export async function returnUnpaid(tx: Transaction, { sale, buyer }: Order): Promise<void> {
  await tx.execute(sql`select flash_sale.return_unpaid(${sale}, ${buyer})`);
}

/** The state that a function of the schema answers. */
async function stateOf(tx: Transaction, query: SQL): Promise<OrderState | null> {
  return (await tx.execute<{ state: OrderState | null }>(query))[0]?.state ?? null;
}
