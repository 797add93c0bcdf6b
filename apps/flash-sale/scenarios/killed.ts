import { claim, type Scenario, table, until } from "@sluice/app-kit";
import { queueClaims, type ScenarioParts, stock, throughTheQueue } from "./queued.ts";

const size = { count: 1_500, perSecond: 750 };

/** The order service is killed in the middle of the burst, and comes back. */
export function killed(parts: ScenarioParts): Scenario {
  return {
    name: "killed",
    title: "The order service is killed in the middle",
    what: `${size.count.toLocaleString("en")} orders at ${size.perSecond} a second; while they are worked off, the order service's process is killed with SIGKILL. Nobody at the page notices more than a line that stands still, and in the end exactly ${stock} items are sold.`,
    async run(context) {
      const { orderService, database } = parts;
      const { ids } = orderService;
      const decided = async () => {
        const [row] = await database.sql<{ count: number }[]>`
          select count(*)::integer as count from flash_sale.orders`;
        return row?.count ?? 0;
      };
      const before = await decided();
      const kill = async () => {
        const inTime = await until(async () => (await decided()) >= before + 20, 30_000, context.signal);
        context.log("killing the order service");
        orderService.kill();
        return inTime;
      };
      const [queued, inTime] = await Promise.all([throughTheQueue(parts, size, context), kill()]);
      const again = await until(() => orderService.ids.some((id) => !ids.includes(id)), 5_000, context.signal);
      const { sold, deepest, findings, drainedMs } = queued;
      const row = [sold, deepest, findings.refused, `${(drainedMs / 1_000).toFixed(1)} s`].map(String);
      return {
        report: `${size.count} orders at ${Math.round(findings.perSecond)}/s, the order service killed after its first twenty decisions

${table([["sold", "longest line", "refused", "all decided after"], row], Array<"right">(4).fill("right"))}`,
        claims: [
          claim("it was killed while it decided", inTime ? "after 20 orders" : "too late", "after 20 orders", inTime),
          claim("it was started again", again ? "yes" : "no", "yes", again),
          ...queueClaims(queued),
        ],
      };
    },
  };
}
