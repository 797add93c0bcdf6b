import type { HeldStatement } from "@sluice/testkit";
import type { App } from "sluice";
import type { Room } from "./room.ts";

/** What happens at a statement. Resolves when the fault is over. */
export type Outcome = (room: Room, held: HeldStatement, make: (worker: string) => App) => Promise<void>;

const fails =
  (sqlState: string): Outcome =>
  async (_, held) => {
    held.fail(sqlState);
  };

/** Another process takes over, and does all that is owed, before the victim is heard of again. */
async function replaced(room: Room, make: (worker: string) => App): Promise<void> {
  const other = await room.startOther(make);
  await room.settled();
  await other.close();
}

/** Statements that end a transaction fail in their own way: see {@link Outcome}. */
export const outcomes: Readonly<Record<string, Outcome>> = {
  "serialization failure": fails("40001"),
  deadlock: fails("40P01"),
  "query cancelled": fails("57014"),
  "too many connections": fails("53300"),
  "unexpected error": fails("XX000"),
  cut: async (_, held) => held.cut(),
  "server process ended": async (room, held) => {
    await room.endBackend(held);
    held.release();
  },
  "answer lost": async (_, held) => held.releaseUnanswered(),
  // For the database, a process that is killed is one whose connections are gone, and of which nothing is heard again.
  "process killed": async (room, _, make) => {
    room.proxy.refuse = true;
    room.proxy.cutAll();
    await replaced(room, make);
    room.proxy.refuse = false;
  },
  "paused until fenced": async (room, held, make) => {
    room.proxy.freeze();
    await room.endSession();
    await replaced(room, make);
    room.proxy.thaw();
    held.release();
  },
};

const codes = ["serialization failure", "deadlock", "query cancelled", "too many connections"] as const;
const others = [
  "unexpected error",
  "cut",
  "server process ended",
  "answer lost",
  "process killed",
  "paused until fenced",
];

/** Statements at which every code of an error is tried; elsewhere the retryable ones take turns. */
const thorough: ReadonlySet<string> = new Set([
  "handler/mark-done",
  "transaction/commit",
  "log/append-one",
  "broker/commit-positions",
  "broker/take-position",
]);

/** Everything everywhere takes some minutes: `SLUICE_EVERY_FAULT=yes npm test -- every-statement`. */
const { SLUICE_EVERY_FAULT: everyFault } = process.env;

/**
 * What is tried at a statement that is this one of its scenario's: all outcomes, or two of them by turns, so that in a scenario each outcome
 * meets many statements and each statement two outcomes.
 */
export function outcomesAt(statement: string, number: number, isByTurns: boolean): readonly string[] {
  if (thorough.has(statement)) return [...codes, ...others];
  const all = [codes[number % codes.length] as string, ...others];
  if (!isByTurns || everyFault === "yes") return all;
  return [0, 1].map((turn) => all[(number * 2 + turn) % all.length] as string);
}
