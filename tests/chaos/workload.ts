import process from "node:process";
import { keyOf } from "@sluice/testkit/checker";
import { topic } from "sluice";
import { z } from "zod";

/** A message: who sent it, and which one of its sender's it is. Its key is part of its number. */
const message = z.object({ s: z.number().int(), n: z.number().int() });

/** A message. */
export type Message = z.infer<typeof message>;

/** How many partitions each of the topics has. */
export const partitions = 8;

const key = (value: Message) => String(keyOf(value.n));

/** Many messages in batches, for groups whose handlers only look. */
export const bulk = topic("bulk", { schema: message, key, partitions });

/** Fewer messages, sent one by one and in transactions, for groups whose handlers write in the transaction of the position. */
export const exact = topic("exact", { schema: message, key, partitions });

/** The number of a partition in a history, where partitions of both topics stand side by side. */
export function globalPartition(topicName: string, partition: number): number {
  return topicName === bulk.name ? partition : partitions + partition;
}

/** Messages of a partition that may be in hand: what is read ahead, and as much again that is done and not yet committed. */
export const prefetch = 500;

/** The groups that consume, as the history declares them. */
export const groups = [
  { group: "in-order", topic: bulk.name, mode: "ordered", isTransactional: false },
  { group: "by-key", topic: bulk.name, mode: "keyed", isTransactional: false },
  { group: "together", topic: bulk.name, mode: "shared", isTransactional: false },
  { group: "effects-in-order", topic: exact.name, mode: "ordered", isTransactional: true },
  { group: "effects-by-key", topic: exact.name, mode: "keyed", isTransactional: true },
] as const;

/** What a process of the workload is told, as JSON in `SLUICE_CHAOS`. */
export interface ProcessOptions {
  /** Never used again. Shown in `pg_stat_activity` and in `sluice.members`. */
  readonly name: string;
  /** Counts the processes; a producer's senders are numbered by it. */
  readonly number: number;
  readonly url: string;
  readonly historyFile: string;
  /** Bulk messages a second of this process. */
  readonly rate: number;
  /** By how much its clock is wrong. */
  readonly clockShiftMs: number;
  /** Commits positions before its handlers have handled: a defect that must be found. */
  readonly commitsFirst: boolean;
}

/** Senders of one process: bulk lanes from 0 on, single sends at 50, transactions at 90. */
export const lanes = { perProcess: 100, single: 50, transaction: 90 } as const;

/** Whether a sender sends in transactions, whose outcome can be looked up afterwards. */
export function isTransactionSender(sender: number): boolean {
  return sender % lanes.perProcess >= lanes.transaction;
}

/** Reads what a process is told, and makes its clock wrong if it is told to. It ends when whoever started it does. */
export function processOptions(): ProcessOptions {
  process.stdin.on("close", () => process.exit(70)).resume();
  const options = JSON.parse(process.env["SLUICE_CHAOS"] ?? "{}") as ProcessOptions;
  if (options.clockShiftMs !== 0) shiftClock(options.clockShiftMs);
  return options;
}

function shiftClock(shiftMs: number): void {
  const Real = Date;
  globalThis.Date = new Proxy(Real, {
    construct: (target, parameters: unknown[]) =>
      parameters.length === 0 ? new target(Real.now() + shiftMs) : Reflect.construct(target, parameters),
    get: (target, name, receiver) =>
      name === "now" ? () => Real.now() + shiftMs : Reflect.get(target, name, receiver),
  });
}

/** What nobody has caught ends a process, which counts as a failure of the run; left to itself the runtime may hang instead. */
export function endAtOnce(error: unknown): void {
  console.error(error);
  process.exit(70);
}
