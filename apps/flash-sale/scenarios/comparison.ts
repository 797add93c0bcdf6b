import { claim, milliseconds, type Scenario, type ScenarioContext, table } from "@sluice/app-kit";
import { openSale } from "../sale.ts";
import {
  auditOf,
  type BurstSize,
  orderFrom,
  patienceMs,
  queueClaims,
  type ScenarioParts,
  stock,
  throughTheQueue,
} from "./queued.ts";

const steps = [80, 160, 400].map((perSecond): BurstSize => ({ count: perSecond * 2.5, perSecond }));

/** The same burst straight at the order service and through the queue, in one run. */
export function comparison(parts: ScenarioParts, size: BurstSize): Scenario {
  return {
    name: "comparison",
    title: "The same burst, straight and through the queue",
    what: `${stock} items, and ${size.count.toLocaleString("en")} orders at ${size.perSecond.toLocaleString("en")} a second; the order service manages 100. First straight at it, from a rate that it manages upwards, then through the bounded line. Every fifth buyer in line does not pay, and the item goes to the next.`,
    async run(context) {
      const rates: Straight[] = [];
      for (const step of [...steps, size]) rates.push(await straight(parts, step, context));
      const direct = rates[rates.length - 1] as Straight;
      const queued = await throughTheQueue(parts, size, context);
      const lost = direct.findings.unanswered;
      const breaks = rates.find(({ findings }) => findings.unanswered > 0);
      const sooner = (what: string, measuredMs: number) =>
        claim(
          `${what}, in less than half the time of straight (p99)`,
          `${milliseconds(measuredMs)} against ${milliseconds(direct.findings.p99Ms)}`,
          "less than half",
          measuredMs * 2 < direct.findings.p99Ms,
        );
      const rows = [
        ...rates.map((one) => [`straight, ${one.size.perSecond}/s`, ...rowOf(one)]),
        ["queue", ...rowOf({ ...queued, held: queued.sold, forNobody: 0 })],
      ];
      const heading = ["way", "asked/s", "no answer", "sold out", "p50", "p99", "held or sold", "for nobody"];
      return {
        report: `${size.count} orders for ${stock} items, an order service that manages 100/s; buyers give up after ${patienceMs / 1_000} s

${table([heading, ...rows], ["left", ...Array<"right">(7).fill("right")])}

straight  breaks ${breaks === undefined ? "at no rate here" : `at ${breaks.size.perSecond}/s`}: buyers give up, and what is decided by then is decided for nobody.
queue     at most ${queued.deepest} in line; all decided and paid ${(queued.drainedMs / 1_000).toFixed(1)} s after the first order.`,
        claims: [
          ...queueClaims(queued),
          claim("straight: who never heard", `${lost} of ${size.count}`, "at least half", lost * 2 >= size.count),
          claim("straight: not oversold either", direct.held, `at most ${stock}`, direct.held <= stock),
          sooner("everybody is answered", queued.findings.p99Ms),
          sooner("who is refused hears it", queued.findings.refusedP99Ms),
        ],
      };
    },
  };
}

type Straight = Awaited<ReturnType<typeof straight>>;

/** The same orders by the same code, with a place in the order service's capacity instead of one in line. */
async function straight(parts: ScenarioParts, size: BurstSize, { signal, log }: ScenarioContext) {
  const sale = await openSale(parts.database, stock, 30_000);
  const findings = await orderFrom(parts, parts.orderService.url, sale, size, signal);
  log(`straight at ${size.perSecond}/s: ${findings.unanswered} of ${size.count} heard nothing`);
  const { atEnd, orders } = await auditOf(parts.database, sale);
  return { size, findings, held: stock - atEnd, forNobody: Math.max(0, orders - findings.buyersTaken) };
}

function rowOf({ findings, held, forNobody }: Pick<Straight, "findings" | "held" | "forNobody">): string[] {
  const { perSecond, unanswered, refused, p50Ms, p99Ms } = findings;
  const counts = [Math.round(perSecond), unanswered, refused].map(String);
  return [...counts, milliseconds(p50Ms), milliseconds(p99Ms), String(held), String(forNobody)];
}
