import { eventually } from "@sluice/testkit";
import { app, consumer, fixed, type HandlerContext, isSluiceError, schedule, stage } from "sluice";
import { appOptions, insist, letters, parcels, quick, sendThree } from "./kit.ts";
import type { Room } from "./room.ts";
import type { Scenario } from "./tour.ts";

export const ordered: Scenario = {
  name: "ordered, in the handler's transaction",
  statements: [
    "handler/mark-done",
    "transaction/begin",
    "transaction/commit",
    "user/effect",
    "broker/group-positions",
    "broker/live-subscriptions",
    "log/read-next",
  ],
  app: (room, worker) =>
    app({
      ...appOptions,
      name: worker,
      consumers: [consumer(letters, { ...quick, group: "writers", handler: room.once(worker) })],
    }),
  async round(room) {
    room.owe("writers", await sendThree(room));
  },
};

export const keyed: Scenario = {
  name: "keyed, positions written now and then",
  statements: ["broker/commit-positions", "log/ends"],
  app: (room, worker) =>
    app({
      ...appOptions,
      name: worker,
      consumers: [consumer(letters, { ...quick, group: "notes", mode: "keyed", handler: room.atLeastOnce(worker) })],
    }),
  async round(room) {
    room.oweAtLeast("notes", await sendThree(room));
  },
};

/** Throws at its first attempt once it has written its effect, which goes with the transaction. */
function failing(handler: (c: HandlerContext<string>) => Promise<void>) {
  return async (c: HandlerContext<string>) => {
    await handler(c);
    if (c.attempt === 1) throw new Error("not this time");
  };
}

export const retries: Scenario = {
  name: "messages that fail, and are redriven",
  statements: [
    "broker/put-off",
    "broker/count-attempts",
    "broker/end-retries",
    "broker/bury",
    "broker/waiting-redriven",
    "broker/begin-redriven",
    "handler/mark-redriven",
  ],
  app: (room, worker) =>
    app({
      ...appOptions,
      name: worker,
      consumers: [
        consumer(letters, {
          group: "second",
          mode: "keyed",
          commitInterval: 20,
          retry: { attempts: 20, backoff: fixed("5ms") },
          handler: failing(room.once(worker)),
        }),
        consumer(letters, {
          group: "third",
          mode: "keyed",
          commitInterval: 20,
          retry: { attempts: 20, backoff: fixed("5ms") },
          handler: failing(room.atLeastOnce(worker)),
        }),
        consumer(parcels, {
          group: "later",
          mode: "keyed",
          commitInterval: 20,
          retry: { attempts: 20, backoff: fixed("5ms") },
          handler: async (c) => {
            if (await isRedriven(room, c.value)) await room.once(worker)(c);
            else c.reject("not yet");
          },
        }),
      ],
    }),
  async round(room) {
    const values = await sendThree(room);
    room.owe("second", values);
    room.oweAtLeast("third", values);
    const value = room.value();
    await room.sender.send(parcels, value);
    // Redriven once the position has passed it. Before that a takeover hands the message over, too, although there is a letter of it.
    const letter = await eventually(`${value} is a dead letter`, async () => {
      const { letters: found } = await room.sender.deadLetters.list({ group: "later" });
      const [lag] = await room.sql<
        { lag: number }[]
      >`select sum(lag)::integer as lag from sluice.lag where "group" = 'later'`;
      return lag?.lag === 0 && found.find((one) => one.value === value);
    });
    await room.sql`insert into public.effect (name, worker) values (${`redriven ${value}`}, 'test')`;
    await room.sender.deadLetters.redrive([letter.number]);
    room.owe("later", [value]);
  },
};

async function isRedriven(room: Room, value: string): Promise<boolean> {
  const rows = await room.sql`select from public.effect where name = ${`redriven ${value}`}`;
  return rows.length > 0;
}

export const shared: Scenario = {
  name: "a shared group",
  isByTurns: true,
  statements: [
    "broker/acknowledge-leases",
    "broker/claim-retries",
    "broker/finish-retries",
    "broker/lease-ranges",
    "broker/move-all-to-retry",
    "broker/next-retry",
    "broker/shared-positions",
    "broker/take-over-leases",
    "handler/mark-retry-done",
    "handler/mark-leased-done",
    "broker/renew-lease",
  ],
  app: (room, worker) =>
    app({
      ...appOptions,
      // What it does not know that it has, it takes again after two leases.
      lease: "2s",
      heartbeat: "500ms",
      name: worker,
      consumers: [
        consumer(letters, { ...quick, group: "pool", mode: "shared", handler: failing(room.once(worker)) }),
        consumer(letters, { ...quick, group: "first", mode: "shared", handler: room.once(worker) }),
        consumer(letters, { ...quick, group: "plain", mode: "shared", handler: failing(room.atLeastOnce(worker)) }),
      ],
    }),
  async round(room) {
    const values = await sendThree(room);
    room.owe("pool", values);
    room.owe("first", values);
    room.oweAtLeast("plain", values);
  },
};

export const sending: Scenario = {
  name: "sending",
  statements: ["log/append-one", "log/append", "broker/ring"],
  app: (room, worker) =>
    app({
      ...appOptions,
      name: worker,
      topics: [letters],
      consumers: [consumer(letters, { ...quick, group: "writers", handler: room.once(worker) })],
    }),
  async round(room, victim) {
    const value = room.value();
    const told = await victim.sluice.send(letters, value).then(
      () => undefined,
      (error: unknown) => error,
    );
    if (told === undefined) room.owe("writers", [value]);
    else if (!isSluiceError(told)) throw told;
    else if (!isSluiceError(told, "COMMIT_UNKNOWN")) room.forbid("writers", [value]);
    const batch = [room.value(), room.value(), room.value()];
    const outcomes = await Promise.allSettled(batch.map((one) => victim.sluice.send(letters, one, { key: one })));
    for (const [index, outcome] of outcomes.entries()) {
      const one = batch[index] ?? "";
      if (outcome.status === "fulfilled") room.owe("writers", [one]);
      else if (!isSluiceError(outcome.reason)) throw outcome.reason;
      else if (!isSluiceError(outcome.reason, "COMMIT_UNKNOWN")) room.forbid("writers", [one]);
    }
  },
};

export const later: Scenario = {
  name: "the outbox and delayed messages",
  statements: ["broker/insert-delayed", "broker/move-delayed", "broker/recall-delayed", "broker/relay"],
  app: sending.app,
  async round(room, victim) {
    const [a, b] = [room.value(), room.value()];
    await room.sql`select sluice.send('letters', value => ${JSON.stringify(a)}::text::json),
      sluice.send('letters', value => ${JSON.stringify(b)}::text::json, delay => interval '20 ms')`;
    room.owe("writers", [a, b]);
    const c = room.value();
    const told = await victim.sluice.send(letters, c, { delay: "10ms" }).then(
      () => undefined,
      (error: unknown) => error,
    );
    if (told === undefined) room.owe("writers", [c]);
    else if (!isSluiceError(told)) throw told;
    const { id } = await room.sender.send(letters, room.value(), { delay: "1h" });
    await insist(() => victim.sluice.recall(id));
  },
};

export const stages: Scenario = {
  name: "a stage",
  statements: ["handler/mark-all-done", "stage/append"],
  app: (room, worker) =>
    app({
      ...appOptions,
      name: worker,
      stages: [stage({ from: letters, to: parcels, group: "step", retry: quick.retry, map: (c) => c.value })],
      consumers: [consumer(parcels, { ...quick, group: "writers", handler: room.once(worker) })],
    }),
  async round(room) {
    // So many that some share a transaction.
    const values = Array.from({ length: 12 }, () => room.value());
    await room.sender.sendBatch(letters, values, { partition: 0 });
    room.owe("writers", values);
  },
};

export const life: Scenario = {
  name: "start and close",
  isByTurns: true,
  statements: [
    "session/open",
    "session/listen",
    "session/lock",
    "session/unlock",
    "route/process",
    "migrate/has-ledger",
    "store/migrations-read",
    "store/server-probe",
    "log/find-topic",
    "log/list-topics",
    "log/producer-number",
    "log/read-batches",
    "log/segments",
    "log/trim-candidates",
    "log/orphaned-segments",
    "broker/join-group",
    "broker/register-consumer",
    "broker/ensure-positions",
    "broker/add-member",
    "broker/subscribe",
    "broker/unsubscribe",
    "broker/remove-member",
    "broker/member-pause",
    "broker/take-duty",
    "broker/leave-duty",
    "broker/assert-duty",
    "broker/take-position",
    "broker/release-position",
    "broker/database-time-ms",
    "broker/declare-schedule",
    "broker/next-schedules",
    "broker/fire-schedule",
    "broker/forget-expired",
    "broker/forget-marks",
    "broker/forget-moves",
    "broker/forget-pace",
    "broker/forget-releases",
    "broker/forget-replies",
    "broker/refresh-depths",
    "broker/remove-dead-members",
    "broker/retention-bounds",
    "broker/waiting-retries",
    "broker/resume-paused",
  ],
  restarts: true,
  app: (room, worker) =>
    app({
      ...appOptions,
      name: worker,
      consumers: [
        consumer(letters, { ...quick, group: "writers", handler: room.once(worker) }),
        consumer(letters, { ...quick, group: "pool", mode: "shared", handler: room.once(worker) }),
      ],
      schedules: [schedule(parcels, { name: "often", every: "1s", value: "tick" })],
    }),
  async round(room) {
    const values = await sendThree(room);
    room.owe("writers", values);
    room.owe("pool", values);
  },
};

/** What apps do by themselves. */
export const workingScenarios: readonly Scenario[] = [ordered, keyed, retries, sending, later, stages, shared, life];
