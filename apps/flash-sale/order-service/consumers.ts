import { Capacity } from "@sluice/app-kit/outside";
import { app, consumer, exponential } from "sluice";
import { placeOrder, returnUnpaid } from "../sale.ts";
import { orders, paymentDeadlines } from "../topics.ts";

/**
 * What the order service manages: four orders at once, 40 ms each, which is a hundred a second. It stands for the shop's merchandise
 * system, which is asked about every order and cannot be made faster; those who come without the queue share it.
 */
export const capacity = new Capacity({ atOnce: 4, stepMs: 40 });

const retry = { attempts: 10, backoff: exponential("100ms", "10s") };

/** Takes from the line what it can do. What is decided commits with the position: once, whatever is killed. */
const deciding = consumer(orders, {
  group: "order-service",
  mode: "keyed",
  concurrency: 4,
  retry,
  handler: (c) => capacity.use(async () => void (await placeOrder(await c.tx(), c.value)), c.signal),
});

/** Gives back what was not paid in time. */
const returning = consumer(paymentDeadlines, {
  group: "returns",
  retry,
  handler: async (c) => returnUnpaid(await c.tx(), c.value),
});

/** The order service behind the queue. */
export const orderServiceApp = app({
  name: "flash-sale orders",
  consumers: [deciding, returning],
  drain: "10s",
  transactionConnections: 6,
});
