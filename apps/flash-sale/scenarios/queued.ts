import { type Claim, claim, type Database, type Processes, pause, type ScenarioContext, until } from "@sluice/app-kit";
import type { Board } from "../page/board.ts";
import { openSale } from "../sale.ts";
import { mostInLine } from "../topics.ts";
import { burst } from "./burst-plan.ts";

/** What the scenarios work with: the running app. */
export interface ScenarioParts {
  readonly database: Database;
  /** What sessions are signed with. */
  readonly key: string;
  readonly board: Board;
  readonly orderService: Processes;
  /** Of the web side. */
  readonly url: () => string;
}

/** How many orders, and how fast. */
export type BurstSize = { readonly count: number; readonly perSecond: number };

/** How many items every sale here has, and how long a buyer waits for an answer. */
export const [stock, patienceMs] = [100, 5_000];

/** What the tables say about a sale; see the view `flash_sale.audit`. */
export type Audit = Record<
  "sold" | "undecided" | "several" | "lowest" | "atEnd" | "counter" | "orders" | "depth",
  number
>;

/** Reads it. */
export async function auditOf({ sql }: Database, sale: number): Promise<Audit> {
  const [row] = await sql<Audit[]>`
    select sold, undecided, buyers_with_several as several, lowest_stock as lowest, stock_at_end as "atEnd", in_stock as counter, orders,
      (select depth::integer from sluice.guards where topic = 'flash-orders') as depth
    from flash_sale.audit where sale = ${sale}`;
  if (row === undefined) throw new Error(`there is no sale ${sale}`);
  return row;
}

/** Lets a burst loose on a new sale at this address. */
export async function orderFrom(parts: ScenarioParts, url: string, sale: number, size: BurstSize, signal: AbortSignal) {
  const run = `run-${crypto.randomUUID().slice(0, 8)}`;
  parts.board.forget();
  return await burst({ url, sale, key: parts.key, run, ...size, patienceMs, followMs: 30_000 }, signal);
}

/** Opens a sale, lets the burst loose, looks at the line ten times a second, and waits until everything is decided. */
export async function throughTheQueue(parts: ScenarioParts, size: BurstSize, { signal, log }: ScenarioContext) {
  const sale = await openSale(parts.database, stock, 2_500);
  const startedAt = performance.now();
  let [deepest, looks, isOver] = [0, 0, false];
  const isDrained = async () => {
    const { depth, undecided } = await auditOf(parts.database, sale);
    deepest = Math.max(deepest, depth);
    looks += 1;
    return depth === 0 && undecided === 0;
  };
  const watch = async () => {
    for (; !isOver; await pause(100)) await isDrained();
  };
  const ordering = orderFrom(parts, parts.url(), sale, size, signal).finally(() => {
    isOver = true;
  });
  const [findings] = await Promise.all([ordering, watch()]);
  log(`asked at ${Math.round(findings.perSecond)}/s: ${findings.buyersTaken} in line, ${findings.refused} refused`);
  await until(isDrained, 30_000, signal);
  const drainedMs = performance.now() - startedAt;
  return { ...(await auditOf(parts.database, sale)), size, findings, deepest, looks, drainedMs };
}

/** What must hold of every burst that went through the queue, however fast the machine is. */
export function queueClaims(found: Awaited<ReturnType<typeof throughTheQueue>>): readonly Claim[] {
  const { size, findings, deepest } = found;
  const { unanswered, refused, taken, buyersTaken, ends } = findings;
  const returned = ends["returned"] ?? 0;
  const heard = (ends["paid"] ?? 0) + returned + (ends["sold-out"] ?? 0);
  const said = Object.entries(ends).map(([end, count]) => `${count} ${end}`);
  const left = `${found.counter} by the counter, ${found.atEnd} by the movements`;
  const equal = (what: string, measured: number, goal: number) => claim(what, measured, goal, measured === goal);
  return [
    equal("exactly the stock was sold", found.sold, stock),
    equal("oversold", Math.max(0, found.sold - stock), 0),
    equal("the stock at its lowest, from all its movements", found.lowest, 0),
    claim("what is left", left, 0, found.counter === 0 && found.atEnd === 0),
    equal("buyers with more than one order", found.several, 0),
    claim(
      "the line at its longest",
      `${deepest} in ${found.looks} looks`,
      `at most ${mostInLine}`,
      deepest <= mostInLine,
    ),
    equal("left without an answer", unanswered, 0),
    equal("answered with a place in line, or with sold out", taken + refused, size.count),
    claim("who came too late was told so", refused, "at least 1", refused > 0),
    claim("everybody in line heard how it ended", said.join(", "), `${buyersTaken} in all`, heard === buyersTaken),
    claim("items that were not paid for went to others", returned, "at least 1", returned > 0),
    equal("undecided at the end, or in line", found.undecided + found.depth, 0),
  ];
}
