// Run as a process of its own: sends in batches, one by one and in transactions, and writes what became of it to its history.
import process from "node:process";
import { setTimeout as wait } from "node:timers/promises";
import { HistoryWriter, nowhere, type Run, runsOf, steadyNow } from "@sluice/testkit/checker";
import postgres from "postgres";
import { connect, guardTransactions, isSluiceError, type SendResult, type Sluice, silentLogger } from "sluice";
import {
  bulk,
  endAtOnce,
  exact,
  globalPartition,
  lanes,
  type Message,
  partitions,
  processOptions,
} from "./workload.ts";

const batchSize = 250;
const bulkLanes = 3;
const singleLanes = 2;
/** Single messages a second of one lane, at most. */
const singleRate = 15;

const options = processOptions();
const history = new HistoryWriter(options.historyFile);
let isStopping = false;
process.on("SIGTERM", () => {
  isStopping = true;
});

process.on("uncaughtException", endAtOnce);

type SendType = "invoke" | "ok" | "fail" | "info";

async function note(type: SendType, runs: readonly Run[]): Promise<void> {
  await history.write({ op: "send", type, process: options.name, time: steadyNow(), runs });
}

/** Nothing was written, says an error; or nobody can tell. Part of a batch may be in the log although another part failed. */
function outcomeOf(error: unknown, isBatch: boolean): SendType {
  return isBatch || !isSluiceError(error) || isSluiceError(error, "COMMIT_UNKNOWN") ? "info" : "fail";
}

function told(topicName: string, sender: number, first: number, results: readonly SendResult[]): Run[] {
  return runsOf(
    results.map(({ partition, offset }, index) => [
      globalPartition(topicName, partition),
      offset ?? nowhere,
      sender,
      first + index,
    ]),
  );
}

const asked = (sender: number, first: number, count: number): Run[] => [[nowhere, nowhere, sender, first, count]];

/** Calls again and again, so often a second at most. What a fault has held up is made up for, up to a second's worth. */
async function pace(perSecond: number, again: (number: number) => Promise<void>): Promise<void> {
  let due = performance.now();
  for (let number = 0; !isStopping; number++) {
    await again(number);
    due = Math.max(due + 1_000 / perSecond, performance.now() - 2_000);
    const leftMs = due - performance.now();
    if (leftMs > 0) await wait(leftMs);
  }
}

async function sendBatches(sluice: Sluice, lane: number): Promise<void> {
  const sender = options.number * lanes.perProcess + lane;
  await pace(options.rate / bulkLanes / batchSize, async (number) => {
    const first = number * batchSize;
    const values = Array.from({ length: batchSize }, (_, index): Message => ({ s: sender, n: first + index }));
    await note("invoke", asked(sender, first, batchSize));
    try {
      const results = await sluice.sendBatch(bulk, values, { partition: (number + lane) % partitions });
      await note("ok", told(bulk.name, sender, first, results));
    } catch (error) {
      await note(outcomeOf(error, true), asked(sender, first, batchSize));
    }
  });
}

async function sendSingles(sluice: Sluice, lane: number): Promise<void> {
  const sender = options.number * lanes.perProcess + lanes.single + lane;
  await pace(singleRate, async (number) => {
    await note("invoke", asked(sender, number, 1));
    try {
      const result = await sluice.send(exact, { s: sender, n: number }, { partition: (number + lane) % partitions });
      await note("ok", told(exact.name, sender, number, [result]));
    } catch (error) {
      await note(outcomeOf(error, false), asked(sender, number, 1));
    }
  });
}

/** A row and a message in one transaction; every tenth one is rolled back on purpose. */
async function sendInTransactions(sluice: Sluice): Promise<void> {
  const sender = options.number * lanes.perProcess + lanes.transaction;
  const connection = { application_name: options.name };
  const open = () => guardTransactions(postgres(options.url, { max: 1, onnotice: () => undefined, connection }));
  let sql = open();
  const regret = new Error("rolled back on purpose");
  await pace(singleRate, async (number) => {
    await note("invoke", asked(sender, number, 1));
    const transaction = sql.begin(async (tx) => {
      await tx`insert into chaos.intent (sender, number) values (${sender}, ${number})`;
      await sluice.send(exact, { s: sender, n: number }, { tx, partition: number % partitions });
      if (number % 10 === 9) throw regret;
    });
    // The driver may lose an answer, and the connection, for good; the table of intents knows what became of it.
    const late = wait(5_000, "late" as const);
    try {
      const result = await Promise.race([transaction, late]);
      await note(result === "late" ? "info" : "ok", asked(sender, number, 1));
      if (result === "late") {
        void sql.end({ timeout: 0 });
        sql = open();
      }
    } catch (error) {
      await note(error === regret ? "fail" : "info", asked(sender, number, 1));
    }
  });
  await sql.end({ timeout: 2 });
}

/** The server may be down at the moment. */
async function connectAtLast(): Promise<Sluice> {
  for (;;) {
    try {
      return await connect({
        url: options.url,
        name: options.name,
        topics: [bulk, exact],
        migrate: false,
        connections: 2,
        logger: silentLogger,
      });
    } catch (error) {
      if (isStopping) throw error;
      await wait(200);
    }
  }
}

const sluice = await connectAtLast();
await Promise.all([
  ...Array.from({ length: bulkLanes }, (_, lane) => sendBatches(sluice, lane)),
  ...Array.from({ length: singleLanes }, (_, lane) => sendSingles(sluice, lane)),
  sendInTransactions(sluice),
]);
await sluice.close();
history.close();
process.exit(0);
