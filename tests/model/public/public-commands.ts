import fc from "fast-check";
import { type NamedCommand, NothingToDo, pick } from "../command.ts";
import { agree } from "../system.ts";
import { crashPointNames } from "./crash-points.ts";
import type { GroupModel, PublicModel, SentMessage } from "./public-model.ts";
import type { PublicSystem } from "./public-system.ts";
import { deeds, mostFaults, type Task } from "./workload.ts";

export interface PublicWorld {
  readonly model: PublicModel;
}

export type PublicCommand = fc.AsyncCommand<PublicWorld, PublicSystem>;

const mostMembers = 2;

/** Declares a command, which is done to the model and to the system; they are compared when all has settled. */
function command<P extends Readonly<Record<string, unknown>>>(
  name: string,
  parameters: { readonly [Name in keyof P]: fc.Arbitrary<P[Name]> },
  run: (model: PublicModel, system: PublicSystem, parameters: P) => Promise<void>,
  when: (model: PublicModel) => boolean = () => true,
): NamedCommand<PublicCommand> {
  const arbitrary = fc.record<P>(parameters).map((chosen) => ({
    check: ({ model }: PublicWorld) => when(model),
    async run({ model }: PublicWorld, system: PublicSystem) {
      try {
        await run(model, system, chosen);
      } catch (error) {
        if (error instanceof NothingToDo) return;
        throw error;
      }
      system.bench.done.set(name, (system.bench.done.get(name) ?? 0) + 1);
    },
    toString: () => `${name}(${Object.keys(chosen).length === 0 ? "" : JSON.stringify(chosen)})`,
  }));
  return { name, arbitrary };
}

const key = fc.constantFrom("a", "a", "b", "c");
const deed = fc.constantFrom(...deeds, "succeed" as const, "succeed" as const);
const which = fc.nat(3);
const isTrue = fc.boolean();
const crashAt = fc.constantFrom(...crashPointNames);
const skip = fc.constantFrom(0, 0, 1, 2);
const mayFault = ({ faults }: PublicModel) => faults < mostFaults;

/** The next message of a run; it is the model's once it was sent. */
function next({ messages }: PublicModel, more: { readonly key: string; readonly deed: Task["deed"] }, index = 0): Task {
  return { n: messages.length + index, ...more };
}

const groupAt = (model: PublicModel, number: number): GroupModel => {
  const group = pick([...model.groups.values()], number);
  if (group === undefined) throw new NothingToDo();
  return group;
};

const memberAt = (system: PublicSystem, number: number) => {
  const member = pick(system.live, number);
  if (member === undefined) throw new NothingToDo();
  return member;
};

const sendCommands = [
  command("send", { key, deed }, async (model, { bench, topics }, chosen) => {
    const task = next(model, chosen);
    const { id, status } = await bench.sluice.send(topics.tasks, task);
    agree("sending", status, "appended");
    model.messages.push({ ...task, id, how: "at once", fate: "sent" });
  }),
  command(
    "sendBatch",
    { batch: fc.array(fc.record({ key, deed }), { minLength: 2, maxLength: 8 }) },
    async (model, { bench, topics }, { batch }) => {
      const tasks = batch.map((chosen, index) => next(model, chosen, index));
      const results = await bench.sluice.sendBatch(topics.tasks, tasks);
      for (const [index, task] of tasks.entries())
        model.messages.push({ ...task, id: results[index]?.id ?? "", how: "at once", fate: "sent" });
    },
  ),
  command("sendWhileCut", { key, deed }, async (model, { bench, topics }, chosen) => {
    const task = next(model, chosen);
    const cut = bench.proxy.swallowAnswer((statement) => /sluice_log\.append_/.test(statement));
    const { id } = await bench.sluice.send(topics.tasks, task);
    await cut;
    model.messages.push({ ...task, id, how: "at once", fate: "sent" });
  }),
  command(
    "sendInTransaction",
    { batch: fc.array(fc.record({ key, deed }), { minLength: 1, maxLength: 3 }), commits: isTrue, delays: isTrue },
    async (model, { bench, topics, run }, { batch, commits, delays }) => {
      const sent: SentMessage[] = [];
      const rolledBack = new Error("rolled back on purpose");
      const transaction = bench.sql.begin(async (tx) => {
        for (const [index, chosen] of batch.entries()) {
          const task = next(model, chosen, index);
          await tx`insert into public.business (run, n) values (${run}, ${task.n})`;
          const { id } = await bench.sluice.send(topics.tasks, task, { tx, ...(delays ? { delay: "20ms" } : {}) });
          sent.push({ ...task, id, how: "in a transaction", fate: commits ? "sent" : "rolled back" });
        }
        if (!commits) throw rolledBack;
      });
      await transaction.catch((error) => {
        if (error !== rolledBack) throw error;
      });
      model.messages.push(...sent);
    },
  ),
  command("sendLater", { key, deed, isSoon: isTrue }, async (model, { bench, topics }, { isSoon, ...chosen }) => {
    const task = next(model, chosen);
    const { id, status } = await bench.sluice.send(topics.tasks, task, { delay: isSoon ? "30ms" : "1h" });
    agree("sending for later", status, "delayed");
    model.messages.push({ ...task, id, how: "later", fate: isSoon ? "due soon" : "due later" });
  }),
  command("recall", { which }, async (model, { bench }, { which: number }) => {
    const message = pick(
      model.messages.filter(({ how, fate }) => how === "later" || fate === "recalled"),
      number,
    );
    if (message === undefined) throw new NothingToDo();
    const answer = await bench.sluice.recall(message.id);
    // Of the recall and the delivery, one wins.
    if (message.fate !== "due soon") agree("recalling", answer, message.fate === "due later");
    if (answer) message.fate = "recalled";
  }),
];

const memberCommands = [
  command("start", {}, async (model, system) => {
    if (system.live.length >= mostMembers) throw new NothingToDo();
    await system.start(model);
  }),
  command(
    "startAndCrash",
    { at: crashAt, skip },
    async (model, system, crash) => {
      if (system.live.length >= mostMembers) throw new NothingToDo();
      model.faults += 1;
      await system.start(model, crash);
    },
    mayFault,
  ),
  command("stop", { which }, async (_, system, { which: number }) => {
    await memberAt(system, number).close();
  }),
  command(
    "crash",
    { which, at: crashAt, skip },
    async (model, system, { which: number, at, skip: times }) => {
      const member = memberAt(system, number);
      model.faults += 1;
      member.crashAt(at, times);
    },
    mayFault,
  ),
  command(
    "cut",
    { which },
    async (model, system, { which: number }) => {
      const member = memberAt(system, number);
      model.faults += 1;
      member.cut();
    },
    mayFault,
  ),
  command(
    "loseSession",
    { which },
    async (model, system, { which: number }) => {
      const { name } = memberAt(system, number);
      model.faults += 1;
      await system.bench.sql`
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and starts_with(application_name, ${`sluice ${name}`})`;
    },
    mayFault,
  ),
];

const groupCommands = [
  command("addLate", {}, async (model, system) => {
    if (model.hasLate) throw new NothingToDo();
    model.hasLate = true;
    if (system.live.length < mostMembers) await system.start(model);
  }),
  command("pause", { which }, async (model, system, { which: number }) => {
    const group = groupAt(model, number);
    await system.bench.sluice.groups.pause(system.groupOf(group.name));
    group.isPaused = true;
  }),
  command("resume", { which }, async (model, system, { which: number }) => {
    const group = groupAt(model, number);
    await system.bench.sluice.groups.resume(system.groupOf(group.name));
    group.isPaused = false;
  }),
  command("redrive", { which, letter: which, corrects: isTrue }, async (model, system, { corrects, ...numbers }) => {
    const { deadLetters } = system.bench.sluice;
    const group = groupAt(model, numbers.which);
    const { letters } = await deadLetters.list({ group: system.groupOf(group.name) });
    const all = letters.map(({ number, value }) => ({ number, value: value as Task }));
    const letter = pick(
      all.sort((a, b) => a.value.n - b.value.n),
      numbers.letter,
    );
    if (letter === undefined) throw new NothingToDo();
    const { number, value } = letter;
    if (corrects) await deadLetters.edit(number, { value: { ...value, deed: "succeed" } });
    const result = await deadLetters.redrive(number);
    agree("redriving", result, { redriven: [number], waiting: [], gone: [] });
    group.redrives.set(value.n, (group.redrives.get(value.n) ?? 0) + 1);
    if (corrects) group.corrected.add(value.n);
  }),
  command("settle", {}, async (model, system) => {
    await system.settle(model);
  }),
];

const commands: readonly NamedCommand<PublicCommand>[] = [...sendCommands, ...memberCommands, ...groupCommands];

/** What runs are about: which commands come, and how often beside the others. */
export const publicFocuses = {
  crashing: { send: 3, sendBatch: 3, sendInTransaction: 1, start: 3, crash: 5, startAndCrash: 2, stop: 2, settle: 1 },
  failing: {
    send: 3,
    sendBatch: 3,
    start: 2,
    crash: 3,
    cut: 1,
    loseSession: 1,
    redrive: 5,
    pause: 1,
    resume: 1,
    settle: 4,
  },
  sending: {
    ...{ send: 2, sendBatch: 1, sendWhileCut: 2, sendInTransaction: 4, sendLater: 4, recall: 3, start: 1, crash: 2 },
    ...{ stop: 1, addLate: 1, pause: 1, resume: 1, settle: 2 },
  },
  everything: Object.fromEntries(commands.map(({ name }) => [name, name === "send" ? 3 : 1])),
} as const satisfies Readonly<Record<string, Readonly<Record<string, number>>>>;

export type PublicFocus = keyof typeof publicFocuses;

/** Commands by name, each as often as it is to come. */
export function publicCommands(weights: Readonly<Record<string, number>>): fc.Arbitrary<PublicCommand>[] {
  return Object.entries(weights).flatMap(([name, weight]) => {
    const found = commands.find((one) => one.name === name);
    if (found === undefined) throw new Error(`there is no command ${name}`);
    return Array.from({ length: weight }, () => found.arbitrary);
  });
}
