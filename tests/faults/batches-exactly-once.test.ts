import { expect, setDefaultTimeout, test } from "bun:test";
import { eventually, type FaultyProxy, History, isCommit, startProxy } from "@sluice/testkit";
import { lagOf } from "../invariants/recording-groups.ts";
import { killBackends, openRig, plant, type Rig, sendMany } from "../invariants/rig.ts";
import { effectCount, effectWriter, inexactEffects, makeEffectTable } from "./effects.ts";

setDefaultTimeout(60_000);

/** A batch of one, as with a single key, is marked as a message by itself is. */
const isMark = (statement: string) => /sluice\.mark_(all_)?done/.test(statement);

/** Twenty messages in batches of eight, the writer behind a proxy; `fault` meets the first of them. */
async function writeThrough(
  rig: Rig,
  mode: "ordered" | "keyed",
  fault: (proxy: FaultyProxy) => Promise<void>,
): Promise<string[]> {
  await makeEffectTable(rig.sql);
  const proxy = rig.use(await startProxy(rig.url));
  const { topic, entry } = await rig.topic("letters", 1);
  await sendMany(await rig.producer(), topic, new History(), { sender: "s", count: 20 });
  const struck = fault(proxy);
  const consumer = effectWriter(topic, { worker: "writer", mode, batch: { size: 8 } });
  await rig.worker({ name: "writer", url: proxy.url, entry, consumer });
  await struck;
  await eventually("the group is at the end", async () => (await lagOf(rig.sql, "writers")) === 0);
  expect(await effectCount(rig.sql)).toBeGreaterThanOrEqual(20);
  return await inexactEffects(rig.sql);
}

function killAtMark(rig: Rig): (proxy: FaultyProxy) => Promise<void> {
  return async (proxy) => {
    const held = await proxy.hold(isMark);
    expect(await killBackends(rig.sql, "writer handlers")).toBeGreaterThan(0);
    expect(await inexactEffects(rig.sql)).toEqual([]);
    held.release();
  };
}

for (const mode of ["ordered", "keyed"] as const) {
  test(`[N1][R9][I13] the backend dies while a batch is marked as done, ${mode}: one effect of each message`, async () => {
    await using rig = await openRig();
    expect(await writeThrough(rig, mode, killAtMark(rig))).toEqual([]);
  });

  test(`[N1][R9][I13] the answer to a batch's COMMIT is lost, ${mode}: one effect of each message`, async () => {
    await using rig = await openRig();
    expect(await writeThrough(rig, mode, (proxy) => proxy.swallowAnswer(isCommit))).toEqual([]);
  });
}

test("[N1] the check sees a batch of which only the first message is marked", async () => {
  await using rig = await openRig();
  await plant(
    rig.sql,
    "sluice.mark_all_done",
    ["where o >= v_next", "where o >= v_next and o % 8 = 0"],
    ["select unnest(p_offsets) as o except", "select o from unnest(p_offsets) o where o % 8 = 0 except"],
  );
  const inexact = await writeThrough(rig, "ordered", (proxy) => proxy.swallowAnswer(isCommit));
  expect(inexact).toContain("partition 0, offset 1 is done and has 2 effects");
  expect(inexact).not.toContain("partition 0, offset 0 is done and has 2 effects");
});
