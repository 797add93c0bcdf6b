import { eventually, startOnTestDatabase } from "@sluice/app-kit/testing";
import { openSale } from "./sale.ts";
import type { FlashSale } from "./service.ts";
import { startFlashSale } from "./service.ts";

/** The app on a database of its own; for `await using`. */
export interface TestSale extends FlashSale {
  /** A sale, which the page and the desk know of already. */
  open(stock: number, payWithinMs?: number): Promise<number>;
  post(path: string, buyer: string, fields?: unknown, headers?: Record<string, string>): Promise<Response>;
  /** How many orders of the sale are in each state. */
  states(sale: number): Promise<Record<string, number>>;
  /** Waits until that is so. */
  settled(sale: number, states: Record<string, number>): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts it, with the order service as a process of its own. */
export async function startTestSale(): Promise<TestSale> {
  const app = await startOnTestDatabase(startFlashSale, { SESSION_SECRET: undefined, BURST_PER_SECOND: undefined });
  const { database } = app.frame;
  const states = async (sale: number) => {
    const rows = await database.sql<{ state: string; count: number }[]>`
      select state, count(*)::integer as count from flash_sale.orders where sale = ${sale} group by state order by state`;
    return Object.fromEntries(rows.map(({ state, count }) => [state, count]));
  };
  return {
    ...app,
    states,
    async open(stock, payWithinMs = 60_000) {
      const sale = await openSale(database, stock, payWithinMs);
      app.board.forget();
      return sale;
    },
    post: (path, buyer, fields = { quantity: 1 }, headers = {}) =>
      fetch(`${app.url}${path}`, {
        method: "POST",
        headers: { "content-type": "application/json", cookie: app.sessions.cookieOf(buyer), ...headers },
        body: typeof fields === "string" ? fields : JSON.stringify(fields),
      }),
    async settled(sale, wanted) {
      let last = {};
      await eventually(`the orders of the sale are ${JSON.stringify(wanted)}`, async () => {
        last = await states(sale);
        return Bun.deepEquals(last, wanted);
      }).catch((error: unknown) => {
        throw new Error(`they are ${JSON.stringify(last)}`, { cause: error });
      });
    },
  };
}
