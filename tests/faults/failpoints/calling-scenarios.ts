import { app, consumer, topic } from "sluice";
import { z } from "zod";
import { appOptions, insist, letters, quick } from "./kit.ts";
import { sending } from "./scenarios.ts";
import type { Scenario } from "./tour.ts";

const questions = topic("questions", { schema: z.string(), replies: z.string() });
const invoices = topic("invoices", { schema: z.string(), deduplicate: { window: "5m", by: (invoice) => invoice } });
const tagged = topic("tagged", { schema: z.string() });
const urgent = topic("urgent", { schema: z.string(), priorities: 2 });

/** The victim asks and answers. A request that was told of a failure is made again. */
const requests: Scenario = {
  name: "requests and answers",
  isByTurns: true,
  statements: ["broker/answer", "call/answer", "broker/ring-replies", "broker/read-replies"],
  app: (_, worker) =>
    app({
      ...appOptions,
      name: worker,
      consumers: [
        consumer(questions, {
          ...quick,
          group: "answerers",
          mode: "keyed",
          handler: async (c) => {
            c.reply(`to ${c.value}`);
            // By turns in its transaction, which rings once it has committed.
            if (Number(c.value.slice(1)) % 2 === 0) await c.tx();
          },
        }),
      ],
      topics: [questions],
    }),
  async round(room, victim) {
    const value = room.value();
    const answer = await insist(() => victim.sluice.request(questions, value, { timeout: "3s" }));
    if (answer !== `to ${value}`) throw new Error(`another's answer: ${answer}`);
  },
};

/** The victim prepares and decides. What it was not told of is asked about, and given up. */
const halves: Scenario = {
  name: "half messages",
  isByTurns: true,
  statements: [
    "broker/prepare-half",
    "broker/commit-half",
    "broker/rollback-half",
    "broker/claim-halves",
    "broker/note-half",
  ],
  app: (room, worker) => {
    let asked = 0;
    return app({
      ...appOptions,
      name: worker,
      topics: [letters],
      consumers: [consumer(letters, { ...quick, group: "writers", handler: room.once(worker) })],
      checkBacks: {
        orders: () => {
          asked += 1;
          return asked % 2 === 1 ? "unknown" : "rollback";
        },
      },
    });
  },
  async round(room, victim) {
    const [kept, dropped] = [room.value(), room.value()];
    const options = { checkBack: "orders", timeout: "1m" } as const;
    const half = await insist(() => victim.sluice.prepare(letters, kept, options));
    await insist(() => half.commit());
    room.owe("writers", [kept]);
    const other = await insist(() => victim.sluice.prepare(letters, dropped, options));
    await insist(() => other.rollback());
    room.forbid("writers", [dropped]);
    const forgotten = room.value();
    await room.sender.prepare(letters, forgotten, { ...options, timeout: "1s" });
    room.forbid("writers", [forgotten]);
  },
};

/** What people ask of groups and dead letters: each is one statement, and who was told of a failure may ask again. */
const administration: Scenario = {
  name: "looking after groups",
  isByTurns: true,
  statements: [
    "broker/list-groups",
    "broker/list-members",
    "broker/list-dead-letters",
    "broker/pause-group",
    "broker/resume-group",
    "broker/consume-again",
    "broker/discard",
    "broker/redrive-group",
    "broker/database-time",
    "broker/purge-dead-letters",
    "broker/clone-group",
    "broker/reset-position",
    "broker/shift-position",
    "broker/edit-dead-letter",
    "broker/redrive",
  ],
  app: sending.app,
  async round(room, { sluice }) {
    await room.sender.send(letters, room.value());
    await insist(() => sluice.groups.pause("idle"));
    await insist(() => sluice.groups.resume("idle"));
    await insist(() => sluice.groups.list());
    await insist(() => sluice.members.list());
    await insist(() => sluice.groups.clone("idle", "idle-too"));
    await insist(() => sluice.groups.reset("idle", "letters", "earliest"));
    await insist(() => sluice.groups.shift("idle", "letters", 1));
    await insist(() => sluice.groups.consumeAgain("idle", "letters", 0, 0));
    await insist(() => sluice.deadLetters.list({ group: "idle" }));
    await insist(() => sluice.deadLetters.edit(1, { headers: {} }));
    await insist(() => sluice.deadLetters.redrive([1]));
    await insist(() => sluice.deadLetters.discard([1]));
    await insist(() => sluice.deadLetters.redriveGroup("idle"));
    await insist(() => sluice.deadLetters.purge(new Date(0)));
  },
  async prepare(room) {
    // A group that nobody works for.
    await room.sender.send(letters, room.value(), { partition: 0 });
    const idle = app({ consumers: [consumer(letters, { group: "idle", handler: () => undefined })] });
    await (await room.startOther(() => idle)).close();
  },
};

/** A topic that deduplicates: asked again under one id, a message is there once. */
const guarded: Scenario = {
  name: "a topic that deduplicates",
  isByTurns: true,
  statements: ["log/append-guarded"],
  app: (room, worker) =>
    app({
      ...appOptions,
      name: worker,
      consumers: [consumer(invoices, { ...quick, group: "writers", handler: room.once(worker) })],
    }),
  async round(room, { sluice }) {
    const value = room.value();
    await insist(() => sluice.send(invoices, value));
    await insist(() => sluice.send(invoices, value));
    room.owe("writers", [value]);
  },
};

/** Filters, and lanes of priorities in a shared group. */
const chosen: Scenario = {
  name: "filters and priorities",
  isByTurns: true,
  statements: ["log/read-matching", "broker/lease-urgent-ranges"],
  app: (room, worker) =>
    app({
      ...appOptions,
      name: worker,
      lease: "2s",
      heartbeat: "500ms",
      consumers: [
        consumer(tagged, { ...quick, group: "paid", filter: "paid", handler: room.once(worker) }),
        consumer(urgent, { ...quick, group: "pool", mode: "shared", handler: room.once(worker) }),
      ],
    }),
  async round(room) {
    const [paid, unpaid, first] = [room.value(), room.value(), room.value()];
    await room.sender.send(tagged, unpaid, { tag: "open" });
    await room.sender.send(tagged, paid, { tag: "paid" });
    room.owe("paid", [paid]);
    room.forbid("paid", [unpaid]);
    await room.sender.send(urgent, first, { priority: 1 });
    room.owe("pool", [first]);
  },
};

/** What is asked of them. */
export const callingScenarios: readonly Scenario[] = [requests, halves, administration, guarded, chosen];
