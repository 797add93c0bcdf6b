// Run as a process of its own: one member of a group with a rate limit, for as long as it is told.
import { setTimeout as wait } from "node:timers/promises";
import { app, silentLogger } from "sluice";
import { pacedConsumer } from "./pace.ts";

const times: number[] = [];
const url = process.env["DATABASE_URL"] ?? "";
const running = await app({ name: "paced", consumers: [pacedConsumer(() => times.push(Date.now()))] }).start({
  url,
  logger: silentLogger,
});
await wait(Number(process.env["PACE_MS"]));
await running.close();
process.stdout.write(JSON.stringify(times));
