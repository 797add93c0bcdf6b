// Run as a process of its own: a member that says on standard output when it takes a partition, in milliseconds since 1970.
import process from "node:process";
import { app, consumer, type Logger, run, topic } from "sluice";
import { z } from "zod";

const { DATABASE_URL: url = "", NAME: name = "member", LEASE: lease = "15000" } = process.env;
const telling: Logger = {
  isEnabled: () => true,
  log: (_level, message) => {
    if (message === "partition taken") process.stdout.write(`${performance.timeOrigin + performance.now()}\n`);
  },
};
const moving = topic("moving", { schema: z.string(), partitions: 8 });
const declared = app({
  name,
  lease: Number(lease),
  heartbeat: Number(lease) / 5,
  consumers: [consumer(moving, { group: "moving", handler: () => undefined })],
});
process.exit(await run(declared, { url, logger: telling }));
