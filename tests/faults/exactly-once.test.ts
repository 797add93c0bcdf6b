import { expect, setDefaultTimeout, test } from "bun:test";
import { eventually, type FaultyProxy, History, isCommit, startProxy } from "@sluice/testkit";
import { lagOf } from "../invariants/recording-groups.ts";
import { during, killBackends, openRig, plant, type Rig, sendMany } from "../invariants/rig.ts";
import { effectCount, effectWriter, inexactEffects, makeEffectTable } from "./effects.ts";

setDefaultTimeout(60_000);

const isMark = (statement: string) => statement.includes("sluice.mark_done");

/** Five messages, one writer behind a proxy; `fault` meets it at work. Resolves when the group is at the end. */
async function writeThrough(rig: Rig, fault: (proxy: FaultyProxy) => Promise<void>): Promise<string[]> {
  await makeEffectTable(rig.sql);
  const proxy = rig.use(await startProxy(rig.url));
  const { topic, entry } = await rig.topic("letters", 1);
  await sendMany(await rig.producer(), topic, new History(), { sender: "s", count: 5 });
  const struck = fault(proxy);
  await rig.worker({ name: "writer", url: proxy.url, entry, consumer: effectWriter(topic, { worker: "writer" }) });
  await struck;
  await eventually("the group is at the end", async () => (await lagOf(rig.sql, "writers")) === 0);
  expect(await effectCount(rig.sql)).toBeGreaterThanOrEqual(5);
  return await inexactEffects(rig.sql);
}

/** Ends the backend of the handler's transaction when it comes to this statement, before the server gets it. */
function killAt(rig: Rig, match: (statement: string) => boolean): (proxy: FaultyProxy) => Promise<void> {
  return async (proxy) => {
    const held = await proxy.hold(match);
    expect(await killBackends(rig.sql, "writer handlers")).toBeGreaterThan(0);
    expect(await inexactEffects(rig.sql)).toEqual([]);
    held.release();
  };
}

test("[N1][I13] the backend dies at the mark: one effect", async () => {
  await using rig = await openRig();
  expect(await writeThrough(rig, killAt(rig, isMark))).toEqual([]);
});

test("[N1][I13] the backend dies before the COMMIT: one effect", async () => {
  await using rig = await openRig();
  expect(await writeThrough(rig, killAt(rig, isCommit))).toEqual([]);
});

test("[N1][I13] the answer to the mark is lost: one effect", async () => {
  await using rig = await openRig();
  expect(await writeThrough(rig, (proxy) => proxy.swallowAnswer(isMark))).toEqual([]);
});

test("[N1][I13][R11] the answer to the COMMIT is lost: one effect", async () => {
  await using rig = await openRig();
  expect(await writeThrough(rig, (proxy) => proxy.swallowAnswer(isCommit))).toEqual([]);
});

test("[N1][I13] the check sees a mark that leaves no trace, once the answer to a COMMIT is lost", async () => {
  await using rig = await openRig();
  await plant(
    rig.sql,
    "sluice.mark_done",
    [/insert into sluice\.done[^;]*;/, ""],
    ["v_done := v_done or found;", "v_done := true;"],
  );
  expect(await writeThrough(rig, (proxy) => proxy.swallowAnswer(isCommit))).toEqual([
    "partition 0, offset 0 is done and has 2 effects",
  ]);
});

/** The first owner loses its partition while a handler's transaction is open, and its handler goes on all the same. */
async function takeOverOpenTransaction(rig: Rig): Promise<string[]> {
  await makeEffectTable(rig.sql);
  const { topic, entry } = await rig.topic("letters", 1);
  const producer = await rig.producer();
  await sendMany(producer, topic, new History(), { sender: "s", count: 5 });
  const [reached, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const slow = effectWriter(topic, {
    worker: "old",
    before: async ({ offset }) => {
      if (offset !== 2) return;
      reached.resolve();
      await goOn.promise;
    },
  });
  await rig.worker({ name: "old", entry, drainMs: 30_000, consumer: slow });
  rig.use({ [Symbol.asyncDispose]: async () => goOn.resolve() });
  await reached.promise;
  const next = await rig.worker({ name: "next", entry, consumer: effectWriter(topic, { worker: "next" }) });
  await killBackends(rig.sql, "sluice old");
  await eventually("the next owner is at the end", async () => (await lagOf(rig.sql, "writers")) === 0);
  expect(next.owned).toHaveLength(1);
  goOn.resolve();
  await eventually("no handler's transaction is open", async () => {
    const open = await rig.sql`
      select from pg_stat_activity where datname = current_database() and application_name = 'old handlers' and state <> 'idle'`;
    return open.length === 0;
  });
  expect(await effectCount(rig.sql)).toBeGreaterThanOrEqual(5);
  return await inexactEffects(rig.sql);
}

test("[N1][I12][I13] a partition is taken over while a handler's transaction is open: nothing of the old epoch commits", async () => {
  await using rig = await openRig();
  expect(await takeOverOpenTransaction(rig)).toEqual([]);
  const workers = await rig.sql<{ worker: string }[]>`select worker from public.effect order by "offset"`;
  expect(workers.map(({ worker }) => worker)).toEqual(["old", "old", "next", "next", "next"]);
});

test("[N1] the check sees a mark that asks neither for the epoch nor for the position", async () => {
  await using rig = await openRig();
  await plant(
    rig.sql,
    "sluice.mark_done",
    [/ and epoch = p_epoch/, ""],
    ["if p_offset >= v_next then", "if true then"],
  );
  expect(await takeOverOpenTransaction(rig)).toContain("partition 0, offset 2 is done and has 2 effects");
});

test("[N1][I13][K15] two workers, many handlers at once, commits lost and backends killed: exact at every moment", async () => {
  await using rig = await openRig();
  await makeEffectTable(rig.sql);
  const proxy = rig.use(await startProxy(rig.url));
  const { topic, entry } = await rig.topic("letters", 2);
  const producer = await rig.producer();
  for (const name of ["one", "two"]) {
    const consumer = effectWriter(topic, { worker: name, mode: "keyed" });
    await rig.worker({ name, url: proxy.url, entry, consumer });
  }
  const working = (async () => {
    await sendMany(producer, topic, new History(), { sender: "a", count: 150, partition: 0, inFlight: 10 });
    await sendMany(producer, topic, new History(), { sender: "b", count: 150, partition: 1, inFlight: 10 });
    await eventually("the group is at the end", async () => (await lagOf(rig.sql, "writers")) === 0, 40_000);
  })();
  let rounds = 0;
  await during(working, async () => {
    rounds += 1;
    const before = await effectCount(rig.sql);
    if (rounds % 3 === 0) await killBackends(rig.sql, rounds % 2 === 0 ? "one handlers" : "two handlers");
    else if (rounds % 3 === 1) await Promise.race([working, proxy.swallowAnswer(isCommit)]);
    else if (rounds % 6 === 2) await killBackends(rig.sql, rounds % 4 === 2 ? "sluice one" : "sluice two");
    expect(await inexactEffects(rig.sql)).toEqual([]);
    const goesOn = eventually("effects go on", async () => (await effectCount(rig.sql)) > before, 40_000);
    await Promise.race([working, goesOn.catch(() => undefined)]);
  });
  expect(rounds).toBeGreaterThan(3);
  expect(await effectCount(rig.sql)).toBe(300);
  expect(await inexactEffects(rig.sql)).toEqual([]);
});
