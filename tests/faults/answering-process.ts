// Run as a process of its own: an app that answers requests with its name, and commits its position only with a transaction.
import process from "node:process";
import { sql } from "drizzle-orm";
import { app, consumer, run, silentLogger } from "sluice";
import { prices } from "./request-rig.ts";

const by = process.env["ANSWERS_AS"] ?? "";
const isExact = process.env["ANSWERS_IN_TRANSACTION"] === "yes";

const answering = consumer(prices, {
  group: "pricing",
  commitInterval: "1h",
  handler: async (c) => {
    if (isExact) {
      const tx = await c.tx();
      await tx.execute(sql`insert into public.asked (correlation, by) values (${c.headers["correlation-id"]}, ${by})`);
    }
    c.reply({ price: c.value.article.length, by });
  },
});

process.exit(
  await run(app({ name: by, consumers: [answering] }), {
    url: process.env["DATABASE_URL"] ?? "",
    logger: silentLogger,
  }),
);
