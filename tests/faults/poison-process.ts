// Run as a process of its own: an app whose handler notes each handing-over in a table and is killed by some messages.
import process from "node:process";
import postgres from "postgres";
import { app, consumer, fixed, type HandlerContext, run, silentLogger, topic } from "sluice";
import { z } from "zod";

const url = process.env["DATABASE_URL"] ?? "";
const sql = postgres(url, { max: 1, onnotice: () => undefined });
const letters = topic("letters", { schema: z.string(), partitions: 1 });
const mode = process.env["POISON_MODE"] === "ordered" ? "ordered" : "keyed";
const options = {
  group: "readers",
  mode,
  retry: { attempts: Number(process.env["POISON_ATTEMPTS"] ?? 3), backoff: fixed("5ms") },
} as const;
const handler = async (c: HandlerContext<string>) => {
  await sql`insert into public.handing_over (value, attempt) values (${c.value}, ${c.attempt})`;
  // As the kernel's out-of-memory killer would: no handler of any kind runs.
  if (c.value.startsWith("poison")) process.kill(process.pid, "SIGKILL");
  await sql`insert into public.handled (value) values (${c.value})`;
};
const reader =
  process.env["POISON_BATCH"] === undefined
    ? consumer(letters, { ...options, handler })
    : consumer(letters, {
        ...options,
        batch: { size: Number(process.env["POISON_BATCH"]) },
        batchHandler: async ({ messages }) => {
          for (const message of messages) await handler(message);
        },
      });

process.exit(await run(app({ name: "poisoned", consumers: [reader] }), { url, logger: silentLogger }));
