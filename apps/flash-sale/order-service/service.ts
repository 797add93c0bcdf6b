import { drain, type MainContext, openFrame, type RunningApp } from "@sluice/app-kit";
import type { FlashSaleEnvironment } from "../environment.ts";
import { readOrder } from "../page/order-form.ts";
import { Sessions } from "../page/session.ts";
import { placeOrder } from "../sale.ts";
import { capacity, orderServiceApp } from "./consumers.ts";

/** Starts the order service: the consumers, and `POST /orders` for who comes without the queue. Both do the same for an order. */
export async function startOrderService(context: MainContext<FlashSaleEnvironment>): Promise<RunningApp> {
  const { databaseUrl, logger, host, port, refusal } = context;
  await using starting = new AsyncDisposableStack();
  const schema = new URL("../schema.sql", import.meta.url);
  const frame = await openFrame({ name: "order-service", databaseUrl, schema, brand: "orders", links: [], logger });
  starting.defer(() => frame.close());
  const { web, database } = frame;
  const sessions = await Sessions.open(database, context.environment.SESSION_SECRET);
  const running = await orderServiceApp.start({ url: databaseUrl, logger, connections: 4 });
  starting.defer(() => drain(running));

  web.post("/orders", async (c) => {
    const order = await readOrder(c, sessions);
    if (order instanceof Response) return order;
    const { signal } = c.req.raw;
    const decide = () => database.orm.transaction((tx) => placeOrder(tx, order));
    const state = await capacity.use(decide, signal).catch((error: unknown) => {
      if (signal.aborted) return "gone" as const;
      throw error;
    });
    return state === null ? c.json({ error: "There is no such sale." }, 404) : c.json({ state });
  });
  const listening = frame.listen({ host, port, refusal, scenarios: [] });
  starting.defer(() => listening.close());
  const parts = starting.move();
  return { ...listening, liveLine: () => frame.picture.line(), close: () => parts.disposeAsync() };
}
