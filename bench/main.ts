import { parseArgs } from "node:util";
import { delayed } from "./delivery/delayed.ts";
import { failing, failingShared, failingWaiting } from "./delivery/failing.ts";
import { outbox, outboxSixteen } from "./delivery/outbox.ts";
import { pace } from "./delivery/pace.ts";
import { relay } from "./delivery/relay.ts";
import { shared } from "./delivery/shared.ts";
import { stageBatch, stageRowByRow } from "./delivery/stage.ts";
import { failover, failoverKinds } from "./failover/failover.ts";
import { Floors } from "./floors.ts";
import { consume, read } from "./log/consume.ts";
import { heldTransaction } from "./log/held-transaction.ts";
import { latency } from "./log/latency.ts";
import { keyedSends, type LogBench, openLogBench, sendBatch, sendMany, sendOne, sendSixteen } from "./log/send.ts";
import type { Result, Spell } from "./measure.ts";
import { openBenchServer } from "./server.ts";

const logBenches: Readonly<Record<string, (bench: LogBench) => Promise<Result>>> = {
  "send-1": sendOne,
  "send-16": (bench) => sendSixteen(bench),
  "send-256": (bench) => sendMany(bench),
  "send-batch": (bench) => sendBatch(bench),
  ...keyedSends,
  read,
  consume,
  latency,
  "held-transaction": heldTransaction,
};

const deliveryBenches: typeof logBenches = {
  shared,
  stage: stageBatch,
  "stage-row-by-row": stageRowByRow,
  "failing-1-percent": failing,
  "failing-waiting": failingWaiting,
  "failing-shared": failingShared,
  outbox,
  "outbox-16": outboxSixteen,
  relay,
  delayed,
  "rate-limit": pace,
};

const benches = { ...logBenches, ...deliveryBenches };

const spells: Readonly<Record<string, (bench: LogBench) => Promise<readonly Spell[]>>> = {
  failover: (bench) => failover(bench),
  ...Object.fromEntries(failoverKinds.map((kind) => [kind, (bench: LogBench) => failover(bench, kind)])),
};

const usage = `usage: bun run bench [--only log|delivery|failover|NAME,…] [--scale 0.1] [--json]
  Every figure stands beside its floor, measured in turn with it on the same server; compare the ratios, never the rates.
  DATABASE_URL names a server to use (in a database of its own, dropped afterwards); without it an embedded one is started.
  log:      ${Object.keys(logBenches).join(", ")}
  delivery: ${Object.keys(deliveryBenches).join(", ")}
  failover: how long partitions of a process stand still that crashes, closes or freezes (no floor; about three minutes); one of them:
            ${failoverKinds.join(", ")}`;

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    scale: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
    help: { type: "boolean" },
  },
});
if (values.help) {
  console.log(usage);
  process.exit(0);
}
const wanted = (values.only ?? "log,delivery")
  .split(",")
  .flatMap((name) =>
    name === "log" ? Object.keys(logBenches) : name === "delivery" ? Object.keys(deliveryBenches) : [name],
  );
const unknown = wanted.filter((name) => !(name in benches) && !(name in spells));
if (unknown.length > 0 || !(Number(values.scale) > 0)) {
  console.error(
    unknown.length > 0 ? `there is no benchmark ${unknown.join(", ")}` : "--scale must be a number above zero",
  );
  console.error(usage);
  process.exit(64);
}

await using server = await openBenchServer(process.env["DATABASE_URL"]);
if (!values.json)
  console.log(`Postgres ${server.version}, lz4 ${server.hasLz4 ? "yes" : "no"}, fsync and synchronous_commit on`);
const bench = await openLogBench(server, new Floors(server.sql), Number(values.scale));
await bench.floors.warmUp();
for (const name of wanted) {
  // What the one before has written is not to be brought to disk beside this one.
  await server.sql`checkpoint`;
  const measured = await benches[name as keyof typeof benches]?.(bench);
  if (measured !== undefined) console.log(values.json ? JSON.stringify(measured) : line(measured));
  for (const spell of (await spells[name]?.(bench)) ?? [])
    console.log(values.json ? JSON.stringify(spell) : spellLine(spell));
}
await bench.sluice.close();

function line({ name, rate, p50Ms, p99Ms, floor, ratio, goal, held }: Result): string {
  const latencies = p50Ms === undefined ? "" : `  p50 ${p50Ms.toFixed(2)} ms  p99 ${(p99Ms ?? 0).toFixed(2)} ms`;
  return `${name.padEnd(18)}${Math.round(rate).toLocaleString("en").padStart(10)}/s${latencies}  ${floor.name} ${Math.round(floor.rate).toLocaleString("en")}/s${floor.p50Ms === undefined ? "" : ` p50 ${floor.p50Ms.toFixed(2)} ms`}  ratio ${ratio.toFixed(2)} (${goal}) ${held ? "held" : "NOT HELD"}`;
}

function spellLine({ name, count, p50Ms, p99Ms, mostMs, goalMs, held, note }: Spell): string {
  const ms = (value: number) => `${Math.round(value).toLocaleString("en")} ms`;
  return `${name.padEnd(18)}p50 ${ms(p50Ms)}  p99 ${ms(p99Ms)}  most ${ms(mostMs)}  of ${count} (p99 <= ${ms(goalMs)}) ${held ? "held" : "NOT HELD"}  ${note}`;
}
