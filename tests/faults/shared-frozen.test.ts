import { expect, setDefaultTimeout, test } from "bun:test";
import { eventually, History, startProxy } from "@sluice/testkit";
import { sql as text } from "drizzle-orm";
import { killBackends, openRig, plant, type Rig, sendMany } from "../invariants/rig.ts";
import { deliveries, isAllDone, makeDeliveredTable, sharer } from "./shared-rig.ts";

setDefaultTimeout(60_000);

interface Frozen {
  readonly rig: Rig;
  /** Lets the old holder's handler go on, and resolves when it has been told what became of it. */
  readonly goOn: () => Promise<void>;
}

/** One member holds a message in its handler; its lease is made to run out; another does everything. */
async function expireAndTakeOver(rig: Rig, effect: boolean): Promise<Frozen> {
  await makeDeliveredTable(rig.sql);
  await rig.sql`create table public.effect ("offset" bigint not null, member integer not null)`;
  const { topic, entry } = await rig.topic("letters", 1);
  await sendMany(await rig.producer(), topic, new History(), { sender: "s", count: 5 });
  const [reached, thawed, ended] = [0, 1, 2].map(() => Promise.withResolvers<void>()) as [
    PromiseWithResolvers<void>,
    PromiseWithResolvers<void>,
    PromiseWithResolvers<void>,
  ];
  const writing = (member: number) =>
    sharer(rig.sql, topic, {
      member,
      concurrency: 1,
      handler: async (c) => {
        if (effect) {
          const tx = await c.tx();
          await tx.execute(text`insert into public.effect values (${c.offset}, ${member})`);
        }
        if (member !== 1 || c.offset !== 2) return;
        reached.resolve();
        await thawed.promise;
        if (!effect) await c.commit().then(ended.resolve, ended.reject);
      },
    });
  await rig.worker({ name: "old", entry, consumer: writing(1), drainMs: 200 });
  rig.use({ [Symbol.asyncDispose]: async () => thawed.resolve() });
  await reached.promise;
  await rig.worker({ name: "next", entry, consumer: writing(2) });
  await rig.sql`select sluice.expire_lease(lease) from (select lease from sluice.pending order by lease) held`;
  await eventually("the next one has done everything", () => isAllDone(rig.sql));
  return {
    rig,
    goOn: async () => {
      thawed.resolve();
      if (!effect) await ended.promise;
      else
        await eventually("no handler's transaction is open", async () => {
          const open = await rig.sql`
            select from pg_stat_activity where datname = current_database() and application_name = 'old handlers' and state <> 'idle'`;
          return open.length === 0;
        });
    },
  };
}

const effects = async (rig: Rig) =>
  (
    await rig.sql<
      { offset: number; member: number }[]
    >`select "offset"::integer, member from public.effect order by 1, 2`
  ).map(({ offset, member }) => [offset, member]);

test("[Q9][Q10][I12] a message is nobody else's while its lease is renewed; once that has run out, another has it and the old holder's acknowledgement is refused", async () => {
  await using rig = await openRig();
  const frozen = await expireAndTakeOver(rig, false);
  const before = await rig.sql`select next_offset, done_above::text from sluice.position`;
  await expect(frozen.goOn()).rejects.toMatchObject({ code: "FENCED" });
  expect(await rig.sql`select next_offset, done_above::text from sluice.position`).toEqual(before);
  const counts = await deliveries(rig.sql);
  expect([...counts.keys()]).toEqual([0, 1, 2, 3, 4]);
  expect(counts.get(2)).toBe(2);
});

test("[Q10][I12][I13] what the old holder wrote in its transaction is undone", async () => {
  await using rig = await openRig();
  const frozen = await expireAndTakeOver(rig, true);
  await frozen.goOn();
  expect((await effects(rig)).map(([offset]) => offset)).toEqual([0, 1, 2, 3, 4]);
  expect(await effects(rig)).toContainEqual([2, 2]);
});

test("[Q10][I12][I13] the check sees a mark that does not ask for the lease", async () => {
  await using rig = await openRig();
  await plant(rig.sql, "sluice.mark_leased_done", ["if not found then return 'fenced'; end if;", ""]);
  const frozen = await expireAndTakeOver(rig, true);
  await frozen.goOn();
  expect(await effects(rig)).toContainEqual([2, 1]);
});

test("[Q9][Q10] a frozen member's messages go to another; thawed, it comes back as a new member and what it held is void", async () => {
  await using rig = await openRig();
  await makeDeliveredTable(rig.sql);
  const proxy = rig.use(await startProxy(rig.url));
  const { topic, entry } = await rig.topic("letters", 1);
  const producer = await rig.producer();
  await sendMany(producer, topic, new History(), { sender: "s", count: 20 });
  const [frozen, thawed] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const holding = sharer(rig.sql, topic, {
    member: 1,
    handler: async ({ offset }) => {
      if (offset !== 10) return;
      frozen.resolve();
      await thawed.promise;
    },
  });
  await rig.worker({ name: "frozen", url: proxy.url, entry, consumer: holding, drainMs: 200 });
  rig.use({ [Symbol.asyncDispose]: async () => thawed.resolve() });
  await frozen.promise;
  proxy.freeze();
  // What its server processes do when nothing is heard for the lease; only sooner.
  await killBackends(rig.sql, "sluice frozen");
  await rig.worker({ name: "next", entry, consumer: sharer(rig.sql, topic, { member: 2 }) });
  await eventually("the next one has done everything", () => isAllDone(rig.sql));
  const position = await rig.sql`select next_offset, done_above::text from sluice.position`;
  thawed.resolve();
  proxy.thaw();
  await eventually("the frozen one has come back as a new member", async () => {
    const members = await rig.sql`select from sluice.members where live and name = 'frozen'`;
    return members.length > 0;
  });
  expect(await rig.sql`select next_offset, done_above::text from sluice.position`).toEqual(position);
  await sendMany(producer, topic, new History(), { sender: "t", count: 20 });
  await eventually("everything is done", () => isAllDone(rig.sql));
  expect((await deliveries(rig.sql)).size).toBe(40);
});
