// Run as a process of its own: a member of a group that notes every message it is handed, with its effect in the message's own transaction.
// NAME: of the app. LEASE: how long it is awaited, in milliseconds. MEMBER: its name as a static member. HOLD: from that value on a handler
// says so in public.holding and never ends.
import process from "node:process";
import { sql as text } from "drizzle-orm";
import { app, consumer, run, silentLogger, topic } from "sluice";
import { z } from "zod";

const { NAME: name = "member", MEMBER: member, DATABASE_URL: url = "" } = process.env;
const leaseMs = Number(process.env["LEASE"] ?? 15_000);
const holdFrom = Number(process.env["HOLD"] ?? Number.POSITIVE_INFINITY);

const letters = topic("letters", { schema: z.string(), partitions: 4 });
const reading = consumer(letters, {
  group: "readers",
  commitInterval: "20ms",
  handler: async (c) => {
    const tx = await c.tx();
    await tx.execute(
      text`insert into public.effect (partition, "offset", member) values (${c.partition}, ${c.offset}, ${name})`,
    );
    if (Number(c.value) >= holdFrom) await new Promise(() => undefined);
  },
});
const declared = app({
  name,
  consumers: [reading],
  lease: leaseMs,
  heartbeat: leaseMs / 5,
  drain: "1s",
  ...(member === undefined ? {} : { member }),
});

process.exit(await run(declared, { url, logger: silentLogger }));
