// Run as a process of its own: a member of a shared group that notes every message it is handed before anything else.
// HOLD_FROM: from that number on a message is never let go. A message that says "poison" ends the process at once.
import process from "node:process";
import postgres from "postgres";
import { app, consumer, fixed, run, silentLogger, topic } from "sluice";
import { z } from "zod";

const holdFrom = Number(process.env["HOLD_FROM"] ?? Number.POSITIVE_INFINITY);
const sql = postgres(process.env["DATABASE_URL"] ?? "", { max: 4, onnotice: () => undefined });
const letters = topic("letters", { schema: z.string(), partitions: 1 });
const sharing = consumer(letters, {
  group: "sharers",
  mode: "shared",
  concurrency: 4,
  commitInterval: "20ms",
  retry: { attempts: 3, backoff: fixed("10ms") },
  handler: async (c) => {
    await sql`insert into public.delivered ("offset", attempt, member) values (${c.offset}, ${c.attempt}, ${process.pid})`;
    if (c.value.includes("poison")) process.kill(process.pid, "SIGKILL");
    if (Number(c.value.split("-")[1]) >= holdFrom) await new Promise(() => undefined);
  },
});

process.exitCode = await run(app({ name: "child", consumers: [sharing] }), { logger: silentLogger });
await sql.end();
