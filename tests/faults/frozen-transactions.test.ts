import { expect, setDefaultTimeout, test } from "bun:test";
import type { HeldStatement } from "@sluice/testkit";
import { type App, app, consumer, stage } from "sluice";
import { plant } from "../invariants/rig.ts";
import { appOptions, letters, parcels, quick, sendThree } from "./failpoints/kit.ts";
import { Room } from "./failpoints/room.ts";
import { nameOf } from "./failpoints/statement-names.ts";

setDefaultTimeout(90_000);

const writers = (room: Room, worker: string, mode: "ordered" | "shared" = "ordered"): App =>
  app({
    ...appOptions,
    name: worker,
    consumers: [consumer(letters, { ...quick, group: "writers", mode, handler: room.once(worker) })],
  });

/** The victim is at work, and its next statement of this name is held; nothing is heard of it any more. */
async function freezeAt(room: Room, statement: string, begin: () => Promise<unknown>): Promise<HeldStatement> {
  const caught = room.proxy.hold((said) => nameOf(said) === statement);
  await begin();
  const held = await caught;
  room.proxy.freeze();
  return held;
}

/** What it wakes up to, and that it has done nothing in the meantime or since. */
async function thaw(room: Room, held: HeldStatement): Promise<void> {
  room.proxy.thaw();
  held.release();
  await room.settled();
  expect(await room.wrong()).toEqual([]);
}

// The guard of handlers' transactions: the server ends one that idles after its mark, or after a stage's appends. Each fails without it.

test("[N1][I12][I13] frozen between mark and COMMIT, and nobody may end its session: another is at the end, and it has done nothing", async () => {
  await using room = await Room.open();
  await room.sql`create function public.not_yours(integer) returns boolean language plpgsql as
    'begin raise insufficient_privilege; end'`;
  await plant(room.sql, "sluice.fence_position", [/pg_terminate_backend/, "public.not_yours"]);
  await using _victim = await room.startVictim((worker) => writers(room, worker));
  const held = await freezeAt(room, "transaction/commit", async () => room.owe("writers", await sendThree(room)));
  await room.endSession();
  await using _other = await room.startOther((worker) => writers(room, worker));
  await room.settled();
  await thaw(room, held);
});

test("[N1][I12][I13] frozen between mark and COMMIT in a shared group: another member takes its messages over", async () => {
  await using room = await Room.open();
  await using _victim = await room.startVictim((worker) => writers(room, worker, "shared"));
  const held = await freezeAt(room, "transaction/commit", async () => room.owe("writers", await sendThree(room)));
  await room.endSession();
  await using _other = await room.startOther((worker) => writers(room, worker, "shared"));
  await room.settled();
  await thaw(room, held);
});

test("[N1][I13] a stage that is frozen between its appends and its mark holds no sender up", async () => {
  await using room = await Room.open();
  const copying = (worker: string) =>
    app({
      ...appOptions,
      name: worker,
      stages: [stage({ from: letters, to: parcels, group: "step", retry: quick.retry, map: (c) => c.value })],
      consumers: [consumer(parcels, { ...quick, group: "writers", handler: room.once(worker) })],
    });
  await using _victim = await room.startVictim(copying);
  // One message is marked by itself. The first has gone its way already: this is not about the victim's first transaction.
  await room.sender.send(letters, room.value(), { partition: 0 });
  const held = await freezeAt(room, "handler/mark-done", async () => {
    const value = room.value();
    await room.sender.send(letters, value, { partition: 0 });
    room.owe("writers", [value]);
  });
  const value = room.value();
  for (const partition of [0, 1]) await room.sender.send(parcels, `${value}-${partition}`, { partition });
  await thaw(room, held);
});

// The guard of takeovers: it ends who holds a fence without ever having asked for that timeout. Fails without it.

test("[I12] somebody began a transaction by hand, moved a group in it and went away: who takes over waits for seconds, not for ever", async () => {
  await using room = await Room.open();
  await (await room.startOther((worker) => writers(room, worker))).close();
  const forgotten = await room.sql.reserve();
  await forgotten`begin`;
  await forgotten`select sluice.reset_position('writers', 'letters', 'latest')`;
  await using _next = await room.startOther((worker) => writers(room, worker));
  room.owe("writers", await sendThree(room));
  await room.settled();
  expect(await room.wrong()).toEqual([]);
  const sessions =
    await room.sql`select from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'`;
  expect(sessions.length).toBe(0);
});

test("a member of a shared group whose claim was answered to nobody takes the messages again by itself, after two leases", async () => {
  await using room = await Room.open();
  const failing = (worker: string) =>
    app({
      ...appOptions,
      name: worker,
      lease: "1s",
      heartbeat: "250ms",
      consumers: [
        consumer(letters, {
          ...quick,
          group: "writers",
          mode: "shared",
          handler: async (c) => {
            if (c.attempt === 1) throw new Error("not this time");
            await room.once(worker)(c);
          },
        }),
      ],
    });
  await using _victim = await room.startVictim(failing);
  for (const statement of ["broker/lease-ranges", "broker/claim-retries"]) {
    const lost = room.proxy.swallowAnswer((said) => nameOf(said) === statement);
    room.owe("writers", await sendThree(room));
    await lost;
    await room.settled();
  }
  expect(await room.wrong()).toEqual([]);
});
