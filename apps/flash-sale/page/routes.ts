import { type Frame, type Link, readFields, serveFile } from "@sluice/app-kit";
import { z } from "zod";
import { openSale, payOrder } from "../sale.ts";
import type { Board } from "./board.ts";
import type { Desk } from "./desk.ts";
import { homePage } from "./home.ts";
import { readOrder, readSale } from "./order-form.ts";
import type { Sessions } from "./session.ts";
import type { Streams } from "./streams.ts";

/** The pages, for the navigation. */
export const links: readonly Link[] = [{ path: "/", label: "Sale" }];

/** What the web side works with. */
export interface RouteParts {
  readonly frame: Frame;
  readonly sessions: Sessions;
  readonly board: Board;
  readonly desk: Desk;
  readonly streams: Streams;
  /** Why nobody may begin a sale from the page. Undefined: everybody may. */
  readonly refusal: string | undefined;
}

const stock = z.coerce.number().int().min(1).max(10_000).default(100);
const soldOut = "Sold out. More people are in line than items are left.";

/** An order, with the number of its sale. */
const orderAddress = /^https?:\/\/[^/]+\/orders\?sale=(\d{1,10})$/;

/**
 * Answers an order that has no chance before anything else is looked at: headers, session, body. In a burst nearly all have none, and
 * each of them costs a look into memory. Undefined: whatever else it is, the routes answer.
 */
export function refuseAtOnce(desk: Desk): (request: Request) => Response | undefined {
  const body = JSON.stringify({ error: soldOut });
  const headers = { "content-type": "application/json", "x-content-type-options": "nosniff" };
  return (request) => {
    if (request.method !== "POST") return undefined;
    const sale = orderAddress.exec(request.url)?.[1];
    return sale !== undefined && desk.refuses(Number(sale)) ? new Response(body, { status: 409, headers }) : undefined;
  };
}

/** Adds the page, the orders and the streams. */
export function saleRoutes({ frame, sessions, board, desk, streams, refusal }: RouteParts): void {
  const { web, page, database } = frame;
  web.get("/", async (c) => {
    sessions.readOrBegin(c);
    return c.html(homePage(page, (await board.look()).sales[0], refusal), 200, { "cache-control": "no-store" });
  });
  for (const name of ["sale.js", "plot.js", "sale.css"]) {
    serveFile(web, `/${name}`, new URL(`./${name}`, import.meta.url));
  }

  web.post("/orders", async (c) => {
    const order = await readOrder(c, sessions);
    if (order instanceof Response) return order;
    const answer = await desk.take(order);
    if (answer === "no-such-sale") return c.json({ error: "There is no such sale." }, 404);
    if (answer === "sold-out") return c.json({ error: soldOut }, 409);
    return c.json({ state: "queued" }, 202);
  });

  web.post("/orders/mine/pay", async (c) => {
    const order = await readOrder(c, sessions);
    if (order instanceof Response) return order;
    const state = await database.orm.transaction((tx) => payOrder(tx, order));
    if (state === "paid") return c.json({ state });
    if (state === null) return c.json({ error: "There is no order of yours that has been looked at." }, 404);
    return c.json({ error: "No item is held for you.", state }, 409);
  });

  // The page's stream with the plot's numbers, and a buyer's own without them.
  for (const [path, wantsBoard] of [
    ["/live", true],
    ["/orders/mine/events", false],
  ] as const) {
    web.get(path, (c) => {
      const buyer = sessions.read(c);
      if (buyer === undefined) return c.json({ error: "Nobody knows this session. Please load the page again." }, 401);
      const sale = readSale(c);
      if (sale === undefined) return c.json({ error: "Which sale?" }, 400);
      return streams.open(c, { sale, buyer }, wantsBoard);
    });
  }

  web.post("/sales", async (c) => {
    if (refusal !== undefined) return c.json({ error: refusal }, 403);
    const fields = await readFields(c);
    if (fields === undefined) return c.json({ error: "send a form, or a JSON object" }, 415);
    const wanted = stock.safeParse(fields.values["stock"]);
    if (!wanted.success) return c.json({ error: "1 to 10,000 items, please." }, 400);
    const sale = await openSale(database, wanted.data, 30_000);
    board.forget();
    return c.json({ sale }, 201);
  });
}
