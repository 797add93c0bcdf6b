// Run as a process of its own: a member whose handler writes one row per message, in the transaction of the message.
// HOLD_AT: at this offset of partition 0 it says so in public.held, and goes on when public.let_go has a row.
import process from "node:process";
import { setTimeout as wait } from "node:timers/promises";
import { sql as text } from "drizzle-orm";
import postgres from "postgres";
import { app, consumer, fixed, run, silentLogger, topic } from "sluice";
import { z } from "zod";
import { shortLease } from "./short-lease.ts";

const name = process.env["MEMBER_NAME"] ?? "member";
const holdAt = Number(process.env["HOLD_AT"] ?? -1);
// Straight to the server: only Sluice goes through the pooler.
const sql = postgres(process.env["DIRECT_URL"] ?? "", { max: 1, onnotice: () => undefined });
const letters = topic("letters", { schema: z.string(), partitions: 4 });
const writing = consumer(letters, {
  group: "writers",
  commitInterval: "20ms",
  retry: { attempts: 1_000, backoff: fixed("5ms") },
  handler: async (c) => {
    const tx = await c.tx();
    await tx.execute(
      text`insert into public.effect (partition, "offset", worker) values (${c.partition}, ${c.offset}, ${name})`,
    );
    if (c.partition !== 0 || c.offset !== holdAt) return;
    await sql`insert into public.held values (${name})`;
    while ((await sql`select from public.let_go`).length === 0) await wait(20);
  },
});

process.exitCode = await run(app({ name, consumers: [writing], ...shortLease }), { logger: silentLogger });
await sql.end();
