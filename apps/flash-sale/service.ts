import { type Frame, keepProcesses, type MainContext, openFrame } from "@sluice/app-kit";
import { connect } from "sluice";
import type { FlashSaleEnvironment } from "./environment.ts";
import { Board } from "./page/board.ts";
import { Desk } from "./page/desk.ts";
import { links, refuseAtOnce, saleRoutes } from "./page/routes.ts";
import { Sessions } from "./page/session.ts";
import { Streams } from "./page/streams.ts";
import { comparison } from "./scenarios/comparison.ts";
import { killed } from "./scenarios/killed.ts";
import { orders, paymentDeadlines } from "./topics.ts";

/** The running app. */
export type FlashSale = Awaited<ReturnType<typeof startFlashSale>>;

/** Starts the web side, and the order service as a process of its own: the one goes on answering whatever becomes of the other. */
export async function startFlashSale(context: MainContext<FlashSaleEnvironment>) {
  const { databaseUrl, environment, logger, host, port, refusal } = context;
  await using starting = new AsyncDisposableStack();
  const schema = new URL("./schema.sql", import.meta.url);
  const topics = [orders, paymentDeadlines];
  const frame = await openFrame({
    name: "flash-sale",
    databaseUrl,
    schema,
    topics: topics.map(({ name }) => name),
    brand: "flash sale",
    links,
    logger,
  });
  starting.defer(() => frame.close());
  const { database } = frame;
  const sessions = await Sessions.open(database, environment.SESSION_SECRET);
  // A buyer is not kept waiting for a database that does not answer; asking again is safe, an order is taken once.
  const sluice = await connect({ url: databaseUrl, topics, logger, connections: 2, deliveryTimeout: "5s" });
  starting.defer(() => sluice.close());
  const main = new URL("./order-service/main.ts", import.meta.url);
  const onEnd = () => logger.log("warn", "the order service has ended and is started again");
  const orderService = keepProcesses({ main, name: "order-service", onEnd });
  starting.defer(() => orderService.close());
  await orderService.set(1, { DATABASE_URL: databaseUrl, SESSION_SECRET: environment.SESSION_SECRET ?? "" });

  const board = new Board(database);
  const desk = new Desk(sluice, board);
  const streams = new Streams({ database, board, desk, logger });
  saleRoutes({ frame, sessions, board, desk, streams, refusal });
  const perSecond = environment.BURST_PER_SECOND ?? 2_000;
  const parts = { database, key: sessions.key, board, orderService, url: () => listening.url };
  const scenarios = [comparison(parts, { count: perSecond * 3, perSecond }), killed(parts)];
  const first = refuseAtOnce(desk);
  const listening: ReturnType<Frame["listen"]> = frame.listen({ host, port, refusal, scenarios, first });
  starting.defer(() => listening.close());
  // Before the server, which waits for its answers.
  starting.defer(() => streams.close());

  const open = starting.move();
  return {
    ...listening,
    frame,
    sluice,
    sessions,
    board,
    notes: [`order service   ${orderService.url}/  (a process of its own)`],
    liveLine: () => frame.picture.line(),
    close: () => open.disposeAsync(),
  };
}
