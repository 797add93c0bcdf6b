import { SluiceError } from "@sluice/kernel";
import fc from "fast-check";
import type { BrokerModel } from "./broker-model.ts";
import { delay, partition } from "./choices.ts";
import { command, NothingToDo, pick, pickLast } from "./command.ts";
import type { Call, Draft } from "./log-model.ts";
import { agree } from "./system.ts";

/** Few, so that messages share them. */
const key = fc.constantFrom("k", "l", null);
const messageId = fc.constantFrom(null, "m", "n");
const address = fc.record({ partition, key });

/** Calls that a producer may still repeat: it tries for ten minutes. */
const repeatable = (model: BrokerModel): readonly Call[] => model.log.calls.filter(({ at }) => at === model.now);

/** What is done to the log: by producers, by users' transactions, by those who move messages into it, and by retention. */
export const logCommands = [
  command(
    "send",
    {
      producer: fc.nat(1),
      messages: fc.array(fc.record({ partition, key, messageId }), { minLength: 1, maxLength: 4 }),
      after: fc.constantFrom("nothing", "the call before"),
    },
    async (model, system, { producer: index, messages, after }) => {
      const producer = pick(system.producers, index) ?? 0;
      const before = pickLast(
        repeatable(model).filter((call) => call.producer === producer),
        0,
      );
      const call = model.send(
        producer,
        messages.map((message): Draft => ({ ...message, value: model.newValue() })),
      );
      const isAfter = after === "the call before" && before !== undefined && !before.guarded && !call.guarded;
      agree(
        "what its producer is told",
        await system.append(call, isAfter ? before.sequence : null, false),
        call.answer,
      );
    },
  ),
  command(
    "sendAfterWhatIsNotThere",
    { producer: fc.nat(1), partition },
    async (model, system, { producer: index, partition }) => {
      const producer = pick(system.producers, index) ?? 0;
      const sequence = model.log.nextSequence(producer) + 100;
      const drafts = [{ partition, key: null, value: "never", messageId: null }];
      const told = await outcome(system.append({ producer, sequence, drafts, guarded: false }, sequence - 1, false));
      agree("a call after one that is not in the log", told, "SL002");
    },
    (model) => model.log.guard === undefined,
  ),
  command(
    "repeat",
    { call: fc.nat(5) },
    async (model, system, { call: number }) => {
      const call = pickLast(repeatable(model), number);
      if (call === undefined) throw new NothingToDo();
      agree("what a repeat is told", await system.append(call, null, true), model.repeat(call));
    },
    (model) => repeatable(model).length > 0,
  ),
  command(
    "lateFirstTry",
    { call: fc.nat(5) },
    async (model, system, { call: number }) => {
      const call = pickLast(
        repeatable(model).filter(({ guarded }) => !guarded),
        number,
      );
      if (call === undefined) throw new NothingToDo();
      // Refused, or told what its repeat was told: nothing is appended either way.
      const told = await outcome(system.append(call, null, false));
      if (told !== "23505") agree("what a first try is told that was held back", told, call.answer);
    },
    (model) => repeatable(model).some(({ guarded }) => !guarded),
  ),
  command(
    "sendInTransaction",
    { transaction: fc.nat(1), message: address, delay: fc.option(delay) },
    async (model, system, { transaction: number, message, delay }) => {
      let open = model.open[number];
      if (open === undefined) {
        open = model.begin();
        system.transactions.set(open, await system.begin());
      }
      const draft: Draft = { ...message, value: model.newValue(), messageId: null };
      const id = (await system.transactions.get(open)?.send(draft, delay)) ?? "";
      model.sendWithin(open, draft, id, delay);
    },
  ),
  command(
    "endTransaction",
    { transaction: fc.nat(1), how: fc.constantFrom("commit", "rollback") },
    async (model, system, { transaction: number, how }) => {
      const open = pick(model.open, number);
      if (open === undefined) throw new NothingToDo();
      await system.transactions.get(open)?.end(how);
      system.transactions.delete(open);
      model.endTransaction(open, how);
    },
    (model) => model.open.length > 0,
  ),
  command("relay", {}, async (model, system) => {
    agree("a round of the relay", await system.round("relay", false), "done");
    model.relay();
  }),
  command("sendLater", { message: address, delay }, async (model, system, { message, delay }) => {
    const draft: Draft = { ...message, value: model.newValue(), messageId: null };
    model.sendLater(draft, await system.sendLater(draft, delay), delay);
  }),
  command(
    "recall",
    { message: fc.nat(5) },
    async (model, system, { message }) => {
      const id = pickLast(model.delayedIds, message) ?? "";
      // Of a transaction that is open nobody else sees anything.
      agree("recalling", await system.recall(id), model.recall(id));
    },
    (model) => model.delayedIds.length > 0,
  ),
  command("moveDue", {}, async (model, system) => {
    agree("a round of the mover", await system.round("delays", false), "done");
    model.moveDue();
  }),
  command("roundOfAnOldOwner", { duty: fc.constantFrom("relay", "delays") }, async (_, system, { duty }) => {
    await system.bench.newTerm();
    agree("a round of an old owner", await system.round(duty, true), "fenced");
  }),
  command(
    "guard",
    {
      guard: fc.constantFrom(
        { deduplicates: true, maxDepth: null },
        { deduplicates: false, maxDepth: 4 },
        { deduplicates: true, maxDepth: 4 },
      ),
    },
    async (model, system, { guard }) => {
      await system.guard(guard);
      model.setGuard(guard);
    },
  ),
  command("roll", {}, async (model, system) => {
    await system.roll();
    model.log.roll(model.now);
  }),
  command("trim", {}, async (model, system) => {
    agree("what retention did", await system.trim(), model.trim());
  }),
  command(
    "passHours",
    { hours: fc.integer({ min: 1, max: 3 }) },
    async (model, system, { hours }) => {
      await system.passHours(hours);
      model.now += hours;
    },
    // What they wrote nobody can make older.
    (model) => model.open.length === 0,
  ),
  command("read", { partition, from: fc.nat(12) }, async (model, system, { partition, from: number }) => {
    const { log } = model;
    const from = number % (log.end(partition) + 1);
    const first = Math.max(from, log.start(partition));
    const messages = (log.partitions[partition] ?? [])
      .map(({ id, key, value }, offset) => [offset, { id, key, value }] as const)
      .slice(first);
    agree(`reading from ${from}`, await system.read(partition, from), {
      messages,
      next: Math.max(log.end(partition), first),
    });
    const [ends] = await system.log.ends([{ topic: system.entry.number, partition }]);
    agree("the ends", [ends?.start, ends?.end], [log.start(partition), log.end(partition)]);
  }),
];

/** What came of an append, or the SQLSTATE with which it was refused. */
async function outcome<Answer>(work: Promise<Answer>): Promise<Answer | string> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof SluiceError && error.sqlState !== undefined) return error.sqlState;
    throw error;
  }
}
