// The button, the buyer's place and result as they change, and the numbers of the sale. Numbers enter the page through textContent.

import { salePlot } from "./plot.js";

const sale = document.getElementById("sale").dataset.sale;
const [buy, pay, mine] = ["buy", "pay", "mine"].map((id) => document.getElementById(id));
const salesBody = document.querySelector("#sales tbody");
const plot = salePlot(document.getElementById("plot"));
const numbers = new Intl.NumberFormat("en");

let standing = { state: "none", place: null };
let isSending = false;
let payUntil = 0;
let isClosed = sale === "";

const words = {
  none: () => ["", "", ""],
  queued: ({ place }) => [
    "waiting",
    `You are in line: place ${numbers.format(place)}`,
    "Leave this page open, or come back: your place is kept.",
  ],
  reserved: () => [
    "good",
    "One is yours!",
    `Pay within ${Math.max(0, Math.ceil((payUntil - Date.now()) / 1_000))} seconds.`,
  ],
  waiting: ({ place }) => [
    "waiting",
    `All are taken; you wait at place ${numbers.format(place)}`,
    "Whoever does not pay in time leaves an item to you.",
  ],
  paid: () => ["good", "Bought. Thank you!", ""],
  returned: () => ["bad", "Not paid in time", "Your item went to somebody else."],
  "sold-out": () => ["bad", "Sold out", "There were more buyers than items."],
};

function show() {
  const [kind, head, more] = words[standing.state](standing);
  const title = document.createElement("p");
  title.className = `standing ${kind}`;
  title.textContent = head;
  const text = document.createElement("p");
  text.className = "quiet more";
  text.textContent = more;
  // Said anew only when it is new: the region is read aloud.
  if (mine.textContent !== head + more) mine.replaceChildren(...(head === "" ? [] : [title, text]));
  pay.hidden = standing.state !== "reserved";
  pay.disabled = isSending;
  buy.hidden = standing.state !== "none";
  buy.disabled = isSending || isClosed;
  buy.textContent = isClosed ? (sale === "" ? "No sale yet" : "Sold out") : "Buy one";
}

function refuse(text) {
  mine.replaceChildren();
  const line = document.createElement("p");
  line.className = "standing bad";
  line.textContent = text;
  mine.append(line);
}

/** Posts, and resolves with what went wrong, in words; undefined when nothing did. */
async function send(path, fields) {
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(fields),
    });
    return response.ok ? undefined : (await response.json()).error;
  } catch (failure) {
    console.warn(failure);
    return "The server did not answer. Please try again.";
  }
}

async function post(path) {
  isSending = true;
  show();
  const error = await send(`${path}?sale=${sale}`, { quantity: 1 });
  isSending = false;
  show();
  if (error !== undefined) refuse(error);
}

document.getElementById("open").addEventListener("click", async () => {
  const error = await send("/sales", {});
  if (error === undefined) location.assign("/");
  else refuse(error);
});

buy.addEventListener("click", () => post("/orders"));
pay.addEventListener("click", () => post("/orders/mine/pay"));

function showSales(sales) {
  salesBody.replaceChildren(
    ...sales.map((one) => {
      const row = document.createElement("tr");
      const cells = [one.sale, one.stock, one.paid, one.reserved, one.waiting, one.returned, one.soldOut];
      row.append(
        ...cells.map((value) => {
          const cell = document.createElement("td");
          cell.textContent = numbers.format(value);
          return cell;
        }),
      );
      return row;
    }),
  );
}

const source = new EventSource(`/live?sale=${sale === "" ? 1 : sale}`);
source.addEventListener("order", (event) => {
  const next = JSON.parse(event.data);
  if (next.payWithinMs !== null) payUntil = Date.now() + next.payWithinMs;
  const isNews = next.state !== standing.state || next.place !== standing.place;
  standing = next;
  if (isNews || next.state === "reserved") show();
});
source.addEventListener("board", (event) => {
  const board = JSON.parse(event.data);
  // The first one of all is shown at once; later ones do not take a buyer's page away.
  if (sale === "" && board.sales.length > 0) location.reload();
  plot.add(board);
  showSales(board.sales);
  document.getElementById("newer").hidden = board.sales.length === 0 || board.sales[0].sale <= Number(sale);
  const own = board.sales.find((one) => String(one.sale) === sale);
  if (own !== undefined) {
    document.getElementById("in-stock").textContent = numbers.format(own.inStock);
    document.getElementById("stock").textContent = numbers.format(own.stock);
    if (own.isClosed !== isClosed) {
      isClosed = own.isClosed;
      show();
    }
  }
});
show();
