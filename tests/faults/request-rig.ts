import { join } from "node:path";
import { silentLogger, systemClock } from "@sluice/kernel";
import { openTopic } from "@sluice/log";
import { Requests } from "@sluice/worker";
import type postgres from "postgres";
import { topic } from "sluice";
import { z } from "zod";
import type { Rig } from "../invariants/rig.ts";

/** What the tests of requests ask about. */
export const prices = topic("prices", {
  schema: z.object({ article: z.string() }),
  replies: z.object({ price: z.number(), by: z.string() }),
  partitions: 1,
});

/** A requester on the rig; `pollMs` is how often it looks by itself. */
export async function requester(rig: Rig, options: { readonly url?: string; readonly pollMs?: number } = {}) {
  const url = options.url ?? rig.url;
  await openTopic(rig.pool({ connections: 1 }), prices, { create: true });
  const context = { sessionUrl: url, pool: rig.pool({ url, name: "requester" }), producer: await rig.producer() };
  const common = { logger: silentLogger, clock: systemClock, name: "requester" };
  const requests = new Requests({ ...context, ...common, pollMs: options.pollMs ?? 100 });
  return rig.use({ requests, [Symbol.asyncDispose]: () => requests.close() });
}

/** Starts answering-process.ts, which ends with the rig at the latest. */
export function startAnswering(rig: Rig, environment: Readonly<Record<string, string>>) {
  const child = Bun.spawn([process.execPath, join(import.meta.dirname, "answering-process.ts")], {
    env: { ...process.env, DATABASE_URL: rig.url, ...environment },
    stdio: ["ignore", "ignore", "ignore"],
  });
  const kill = async () => {
    child.kill("SIGKILL");
    await child.exited;
  };
  return rig.use({ kill, [Symbol.asyncDispose]: kill });
}

/** Every answer that is kept. */
export async function replies(sql: postgres.Sql) {
  const rows = await sql<{ by: string; dropped: number }[]>`
    select value->>'by' as by, dropped from sluice.replies order by replied_at`;
  return rows.map((row) => ({ ...row }));
}

/** Where the group is: the offset of the next message that it has not done. */
export async function positionOf(sql: postgres.Sql): Promise<number> {
  const [row] = await sql<{ position: number }[]>`
    select committed_offset::integer as position from sluice.lag where "group" = 'pricing'`;
  return row?.position ?? -1;
}
