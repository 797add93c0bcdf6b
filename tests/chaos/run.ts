import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { seeded, startProxy, temporaryFolder } from "@sluice/testkit";
import { checkHistory, HistoryWriter, mergeHistories, readHistory, steadyNow } from "@sluice/testkit/checker";
import postgres from "postgres";
import { connect, silentLogger } from "sluice";
import type { Defect } from "./defects.ts";
import { faults, heal, impossible, injectFaults, type Stand } from "./faults.ts";
import { MemoryWatch } from "./memory.ts";
import { declarations, observe, recordEnd, recordPositions } from "./observation.ts";
import { Crew } from "./processes.ts";
import type { Report } from "./report.ts";
import { ChaosServer } from "./server.ts";
import { bulk, exact } from "./workload.ts";

/** How a run is to be. */
export interface ChaosOptions {
  readonly seconds: number;
  readonly seed: number;
  /** Bulk messages to aim at, all together. */
  readonly messages: number;
  /** Kinds of faults; default all. */
  readonly kinds?: readonly string[];
  /** The longest pause between two faults of a line. Default 600 ms. */
  readonly pauseMs?: number;
  readonly producers?: number;
  readonly consumers?: number;
  /** How long the lag may take to come back to zero. Default a minute. */
  readonly lagDeadlineMs?: number;
  /** Planted, to see it found. */
  readonly defect?: Defect;
  /** Told in a line what happens. */
  readonly onLog?: (line: string) => void;
}

/**
 * Runs producers, consumers and a Postgres of their own while faults happen, lets everything come to rest, and judges the history.
 * When something is wrong the history stays, and the report says where.
 */
export async function runChaos(options: ChaosOptions): Promise<Report> {
  const temporary = temporaryFolder("chaos");
  const folder = temporary.path;
  const histories = join(folder, "histories");
  mkdirSync(histories);
  const historyFile = join(folder, "history.ndjson");
  const report = await runIn(folder, histories, historyFile, options);
  if (report.passed) {
    temporary[Symbol.dispose]();
    return report;
  }
  for (const leftover of ["postgres", "disk"]) rmSync(join(folder, leftover), { recursive: true, force: true });
  return { ...report, historyFile };
}

async function runIn(folder: string, histories: string, historyFile: string, options: ChaosOptions): Promise<Report> {
  const log = options.onLog ?? (() => undefined);
  const own = new HistoryWriter(join(histories, "controller.ndjson"));
  const positions = new HistoryWriter(join(histories, "positions.ndjson"));
  await using server = await ChaosServer.start(folder);
  await prepare(server, options.defect);
  for (const declaration of declarations()) await own.write(declaration);
  await using producersNetwork = await startProxy(server.url);
  await using consumersNetwork = await startProxy(server.url);
  const commitsFirst = options.defect?.commitsFirst ?? false;
  const common = { folder: histories, rate: options.messages / options.seconds, commitsFirst };
  const consumers = new Crew({ ...common, kind: "consumer", size: options.consumers ?? 3, url: consumersNetwork.url });
  const producers = new Crew({ ...common, kind: "producer", size: options.producers ?? 2, url: producersNetwork.url });
  const stand: Stand = {
    server,
    networks: [producersNetwork, consumersNetwork],
    producers,
    consumers,
    random: seeded(options.seed),
  };
  const memory = new MemoryWatch(() => [consumers.memoryMb(0), producers.memoryMb(0)]);
  let lag: { readonly backToZeroMs: number | undefined; readonly left: readonly string[] };
  let late: string[];
  const skipped = impossible(stand);
  try {
    const kinds = (options.kinds ?? Object.keys(faults)).filter((kind) => !(kind in skipped));
    const untilMs = performance.now() + options.seconds * 1_000;
    await injectFaults(stand, { untilMs, kinds, pauseMs: options.pauseMs ?? 600 }, (what) => {
      log(what);
      void own.write({ op: "fault", process: "controller", time: steadyNow(), what });
    });
    heal(stand);
    log("healed: the rest is to be handled");
    memory.stop();
    late = await producers.close(30_000);
    lag = await lagBackToZero(server.url, options.lagDeadlineMs ?? 60_000, log);
  } finally {
    memory.stop();
    heal(stand);
    await producers.close(1_000);
    await consumers.close(15_000);
  }
  await recordAtRest(server.url, own, positions);
  own.close();
  positions.close();
  const files = [...producers.historyFiles, ...consumers.historyFiles].concat(
    ["controller", "positions"].map((name) => join(histories, `${name}.ndjson`)),
  );
  mergeHistories(files, historyFile);
  log("the history is judged");
  const verdict = checkHistory(readHistory(historyFile));
  const unexpected = [...producers.unexpected, ...consumers.unexpected];
  const passed =
    verdict.findings.length === 0 &&
    lag.backToZeroMs !== undefined &&
    memory.isFlat !== false &&
    late.length === 0 &&
    unexpected.length === 0;
  return {
    seed: options.seed,
    seconds: options.seconds,
    passed,
    verdict,
    lag,
    memory: memory.summary,
    late,
    unexpected,
    skipped,
  };
}

async function prepare(server: ChaosServer, defect: Defect | undefined): Promise<void> {
  const sluice = await connect({ url: server.url, logger: silentLogger, topics: [bulk] });
  const sql = postgres(server.url, { max: 1, onnotice: () => undefined });
  if (server.smallDisk !== undefined) await sql.unsafe("alter role current_user set default_tablespace = small");
  await sluice.close();
  await (await connect({ url: server.url, logger: silentLogger, topics: [exact] })).close();
  await sql.unsafe("alter role current_user reset default_tablespace");
  await observe(sql);
  await defect?.plant?.(sql);
  await sql.end();
}

/** Waits until every group is at the end and nothing waits anywhere. */
async function lagBackToZero(
  url: string,
  deadlineMs: number,
  log: (line: string) => void,
): Promise<{ readonly backToZeroMs: number | undefined; readonly left: readonly string[] }> {
  const sql = postgres(url, { max: 1, onnotice: () => undefined });
  const begun = performance.now();
  let toldMs = 0;
  try {
    for (;;) {
      const left = await sql<{ what: string }[]>`
        select format('%s of %s/%s: %s', "group", topic, partition, lag) as what from sluice.lag where lag > 0
        union all select format('%s in the outbox', count(*)) from sluice.outbox having count(*) > 0
        union all select format('%s retries', count(*)) from sluice.retry having count(*) > 0
        union all select format('%s retries of shared groups', count(*)) from sluice.shared_retry having count(*) > 0
        union all select format('%s leases', count(*)) from sluice.lease having count(*) > 0
        union all select format('%s dead letters', count(*)) from sluice.dead_letter having count(*) > 0`;
      const passedMs = performance.now() - begun;
      if (left.length === 0) return { backToZeroMs: Math.round(passedMs), left: [] };
      if (passedMs > deadlineMs) return { backToZeroMs: undefined, left: left.map(({ what }) => what) };
      if (passedMs > toldMs) {
        log(`left: ${left.map(({ what }) => what).join(", ")}`);
        toldMs = passedMs + 3_000;
      }
      await wait(100);
    }
  } finally {
    await sql.end({ timeout: 1 });
  }
}

async function recordAtRest(url: string, own: HistoryWriter, positions: HistoryWriter): Promise<void> {
  await using sluice = await connect({ url, logger: silentLogger, topics: [bulk, exact] });
  const sql = postgres(url, { max: 1, onnotice: () => undefined });
  await recordEnd(sql, sluice, own);
  await recordPositions(sql, positions);
  await sql.end();
}
