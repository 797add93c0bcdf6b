import { expect, test } from "bun:test";
import { eventually } from "@sluice/app-kit/testing";
import { Sessions } from "./page/session.ts";
import { startTestSale, type TestSale } from "./testing.ts";

const ordersOf = (sale: unknown) => `/orders?sale=${sale}`;
const payOf = (sale: unknown) => `/orders/mine/pay?sale=${sale}`;

/** Everything that an order could have left behind. */
async function tracesOf({ frame }: TestSale): Promise<{ messages: number; orders: number }> {
  const [row] = await frame.database.sql<{ messages: number; orders: number }[]>`
    select (select count(*)::integer from topics."flash-orders") as messages, (select count(*)::integer from flash_sale.orders) as orders`;
  return row ?? { messages: -1, orders: -1 };
}

test("[U3] what is no order gets a clear answer, and nothing is written", async () => {
  await using app = await startTestSale();
  const sale = await app.open(3);
  const refusal = async (answer: Promise<Response>) => {
    const response = await answer;
    return [response.status, ((await response.json()) as { error: string }).error] as const;
  };
  for (const quantity of [-1, 0, 2, 1.5, "many", null, true, [1], 1e300, "-1"]) {
    const [status, error] = await refusal(app.post(ordersOf(sale), "ada", { quantity }));
    expect([quantity, status]).toEqual([quantity, 400]);
    expect(error).toBe("One item for each buyer: the quantity must be 1.");
  }
  for (const wrong of ["", "x", -1, 1.5, 2 ** 40, "%00"]) {
    const answer = refusal(app.post(ordersOf(wrong), "ada"));
    expect([wrong, ...(await answer)]).toEqual([wrong, 400, "Which sale?"]);
  }
  expect(await refusal(app.post(ordersOf(sale + 100), "ada"))).toEqual([404, "There is no such sale."]);
  expect((await app.post(ordersOf(sale), "ada", "{")).status).toBe(415);
  expect((await app.post(ordersOf(sale), "ada", { quantity: 1, more: "x".repeat(20_000) })).status).toBe(413);
  expect((await app.post(ordersOf(sale), "ada", undefined, { origin: "https://evil.example" })).status).toBe(403);

  const cookie = app.sessions.cookieOf("ada");
  const forged = [
    "flash_sale_buyer=ada",
    cookie.replace("ada", "bob"),
    `${cookie.slice(0, -2)}AA`,
    new Sessions("another key, with enough of characters").cookieOf("ada"),
    "flash_sale_buyer=.",
    "",
  ];
  for (const session of forged) {
    for (const path of [ordersOf(sale), payOf(sale)]) {
      const [status, error] = await refusal(app.post(path, "ada", undefined, { cookie: session }));
      expect([session, status]).toEqual([session, 401]);
      expect(error).toBe("Nobody knows this session. Please load the page again.");
    }
    expect((await fetch(`${app.url}/orders/mine/events?sale=1`, { headers: { cookie: session } })).status).toBe(401);
  }
  expect(await refusal(app.post(payOf(sale), "ada"))).toEqual([
    404,
    "There is no order of yours that has been looked at.",
  ]);
  expect((await app.post("/sales", "ada", { stock: 0 })).status).toBe(400);
  expect(await tracesOf(app)).toEqual({ messages: 0, orders: 0 });
  expect((await app.post(ordersOf(sale), "ada")).status).toBe(202);
  await app.settled(sale, { reserved: 1 });
}, 60_000);

test("[U3] one buyer on fifty connections at once, and again later, has one order and one item", async () => {
  await using app = await startTestSale();
  const sale = await app.open(10);
  const answers = await Promise.all(Array.from({ length: 50 }, () => app.post(ordersOf(sale), "ada")));
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]));
  await app.settled(sale, { reserved: 1 });
  expect((await app.post(ordersOf(sale), "ada")).status).toBe(202);
  expect(await tracesOf(app)).toEqual({ messages: 1, orders: 1 });

  // The second layer: the same message again, as when the window is over or the group is moved back.
  const { sql } = app.frame.database;
  await app.sluice.groups.reset("order-service", "flash-orders", "earliest", { force: true });
  await app.post(ordersOf(sale), "bob");
  await app.settled(sale, { reserved: 2 });
  const [stock] = await sql<{ left: number }[]>`select in_stock as left from flash_sale.sales where sale = ${sale}`;
  expect(stock?.left).toBe(8);

  // Paying twice, from everywhere, is paying once; the deadline's message is recalled.
  const payments = await Promise.all(Array.from({ length: 20 }, () => app.post(payOf(sale), "ada")));
  expect(new Set(payments.map(({ status }) => status))).toEqual(new Set([200]));
  const due = await sql`select from sluice.delayed_messages where topic = 'flash-payment-deadlines'`;
  expect(due).toHaveLength(1);
}, 60_000);

test("[U3] beyond the bound everybody hears sold out at once, also while the order service stands still", async () => {
  await using app = await startTestSale();
  const sale = await app.open(100);
  await app.sluice.groups.pause("order-service");
  const statuses = await Promise.all(
    Array.from({ length: 400 }, async (_, index) => (await app.post(ordersOf(sale), `buyer-${index}`)).status),
  );
  const counted = (status: number) => statuses.filter((each) => each === status).length;
  expect([counted(202), counted(409)]).toEqual([150, 250]);
  const refused = await app.post(ordersOf(sale), "late");
  expect(await refused.json()).toEqual({ error: "Sold out. More people are in line than items are left." });
  expect(await tracesOf(app)).toEqual({ messages: 150, orders: 0 });
  await app.sluice.groups.resume("order-service");
  await app.settled(sale, { reserved: 100, waiting: 50 });
  await eventually("the sale is closed", async () => (await app.board.look()).sales[0]?.isClosed === true);
  expect((await app.post(ordersOf(sale), "late")).status).toBe(409);
  expect((await tracesOf(app)).messages).toBe(150);
}, 60_000);

test("[U3] who has no chance hears so before session and body are looked at", async () => {
  await using app = await startTestSale();
  const [open, closed] = [await app.open(5), await app.open(1)];
  for (const buyer of ["ada", "bob"]) expect((await app.post(ordersOf(closed), buyer)).status).toBe(202);
  await app.settled(closed, { reserved: 1, waiting: 1 });
  const isClosed = async () => (await app.board.look()).sales[0]?.isClosed === true;
  await eventually("the sale is closed", isClosed);

  const headers = { "content-type": "application/json" };
  const ask = async (sale: number, body: string) =>
    (await fetch(`${app.url}${ordersOf(sale)}`, { method: "POST", headers, body })).status;
  for (const body of ["{", "", `{ "quantity": 7 }`, "x".repeat(15_000)]) {
    expect(await ask(closed, body)).toBe(409);
    expect(await ask(open, body)).not.toBe(409);
  }
  expect(await ask(open, `{ "quantity": 1 }`)).toBe(401);
  expect(await tracesOf(app)).toEqual({ messages: 2, orders: 2 });
}, 60_000);

test("[U3] buyers see their place and what becomes of them; what is not paid goes to who waits", async () => {
  await using app = await startTestSale();
  const sale = await app.open(1, 60_000);
  const follow = async (buyer: string) => {
    const response = await fetch(`${app.url}/orders/mine/events?sale=${sale}`, {
      headers: { cookie: app.sessions.cookieOf(buyer) },
    });
    const seen: { state: string; place: number | null }[] = [];
    const reading = (async () => {
      if (response.body === null) throw new Error("the stream has no body");
      let rest = "";
      for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
        const lines = (rest + chunk).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) if (line.startsWith("data: ")) seen.push(JSON.parse(line.slice(6)));
      }
    })();
    const now = (state: string, place: number | null) =>
      eventually(`${buyer} sees ${state} at ${place}`, () => {
        const last = seen.at(-1);
        return last?.state === state && last.place === place;
      });
    return { now, reading };
  };
  const [ada, bob, eve] = await Promise.all(["ada", "bob", "eve"].map(follow));
  if (ada === undefined || bob === undefined || eve === undefined) throw new Error("three streams were opened");
  await app.sluice.groups.pause("order-service");
  await ada.now("none", null);
  for (const buyer of ["ada", "bob", "eve"]) expect((await app.post(ordersOf(sale), buyer)).status).toBe(202);
  await Promise.all([ada.now("queued", 1), bob.now("queued", 2), eve.now("queued", 3)]);
  await app.sluice.groups.resume("order-service");
  // Four are decided at once; who is first among them is the order service's business.
  await app.settled(sale, { reserved: 1, waiting: 1, "sold-out": 1 });
  const rows = await app.frame.database.sql<{ buyer: string; state: string; message: string | null }[]>`
    select buyer, state, deadline_message as message from flash_sale.orders where sale = ${sale}`;
  const streams: Readonly<Record<string, typeof ada>> = { ada, bob, eve };
  const of = (state: string) => {
    const row = rows.find((each) => each.state === state);
    const stream = streams[row?.buyer ?? ""];
    if (row === undefined || stream === undefined) throw new Error(`nobody is ${state}`);
    return { ...row, ...stream };
  };
  const [first, second, third] = [of("reserved"), of("waiting"), of("sold-out")];
  await Promise.all([first.now("reserved", null), second.now("waiting", 1), third.now("sold-out", null)]);

  // The first one's time is over now: its message comes early instead of in a minute.
  const { sql } = app.frame.database;
  await sql`update sluice.delayed set due = clock_timestamp() where 'd-' || delayed = ${first.message}`;
  await Promise.all([first.now("returned", null), second.now("reserved", null)]);
  expect((await app.post(payOf(sale), first.buyer)).status).toBe(409);
  expect((await app.post(payOf(sale), second.buyer)).status).toBe(200);
  await second.now("paid", null);
  const [audit] = await sql`select sold, lowest_stock, stock_at_end from flash_sale.audit where sale = ${sale}`;
  expect({ ...audit }).toEqual({ sold: 1, lowest_stock: 0, stock_at_end: 0 });
  const closing = app.close();
  await Promise.all([ada.reading, bob.reading, eve.reading]);
  await closing;
}, 60_000);
