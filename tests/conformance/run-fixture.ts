// Run as a process of its own: an app whose whole purpose is to run, as a user would write it.
import process from "node:process";
import { app, consumer, run, silentLogger, topic } from "sluice";
import { z } from "zod";

const ticks = topic("ticks", { schema: z.object({ number: z.number() }), partitions: 1 });
const ticking = consumer(ticks, { group: "ticking", handler: () => undefined });
const options = process.env["FIXTURE_CREATES_TOPICS"] === "no" ? { createTopics: false } : {};

process.exit(await run(app({ name: "fixture", consumers: [ticking] }), { logger: silentLogger, ...options }));
