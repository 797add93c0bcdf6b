import { expect, setDefaultTimeout, test } from "bun:test";
import { eventually, type FaultyProxy, History, startProxy } from "@sluice/testkit";
import { lagOf } from "../invariants/recording-groups.ts";
import { killBackends, openRig, type Rig, sendMany } from "../invariants/rig.ts";
import { effectCount, effectWriter, inexactEffects, makeEffectTable } from "./effects.ts";

setDefaultTimeout(240_000);

/** One statement is one whatever its parameters are. */
const shapeOf = (statement: string) =>
  statement
    .replaceAll(/--[^\n]*/g, "")
    .replaceAll(/\s+/g, " ")
    .trim();

/** A writer behind a proxy is at work and gets three messages, once `strike` was called. Resolves when its group is at the end. */
async function deliver(rig: Rig, strike: (proxy: FaultyProxy) => void): Promise<string[]> {
  await makeEffectTable(rig.sql);
  const proxy = rig.use(await startProxy(rig.url));
  const { topic, entry } = await rig.topic("letters", 1);
  const producer = await rig.producer();
  await rig.worker({ name: "writer", url: proxy.url, entry, consumer: effectWriter(topic, { worker: "writer" }) });
  strike(proxy);
  await sendMany(producer, topic, new History(), { sender: "s", count: 3 });
  await eventually("the group is at the end", async () => (await lagOf(rig.sql, "writers")) === 0, 40_000);
  expect(await effectCount(rig.sql)).toBeGreaterThanOrEqual(3);
  return await inexactEffects(rig.sql);
}

/** What a worker says to the database while it delivers, each statement once. */
async function statements(): Promise<string[]> {
  await using rig = await openRig();
  const seen = new Set<string>();
  const wrong = await deliver(rig, (proxy) => {
    // Nothing is held: the look at each statement is what it is for.
    void proxy.hold((statement) => {
      seen.add(shapeOf(statement));
      return false;
    });
  });
  expect(wrong).toEqual([]);
  return [...seen].filter((statement) => statement !== "");
}

/** What may happen at a statement: before it has an effect, or after. */
const gaps: Readonly<
  Record<string, (rig: Rig, proxy: FaultyProxy, match: (statement: string) => boolean) => Promise<void>>
> = {
  "cut before": async (_, proxy, match) => {
    await proxy.hold(match);
    proxy.cutAll();
  },
  "backends killed before": async (rig, proxy, match) => {
    const held = await proxy.hold(match);
    await killBackends(rig.sql, "writer");
    await killBackends(rig.sql, "sluice writer");
    held.release();
  },
  "answer swallowed": (_, proxy, match) => proxy.swallowAnswer(match),
};

test("[N1][I13] at every statement of a delivery: cut before it, killed before it, its answer lost: one effect", async () => {
  const all = await statements();
  expect(all.length).toBeGreaterThan(5);
  console.log(`${all.length} statements`);
  const cases = all.flatMap((statement) => Object.entries(gaps).map(([name, gap]) => ({ statement, name, gap })));
  let struck = 0;
  const lane = async () => {
    for (let next = cases.pop(); next !== undefined; next = cases.pop()) {
      const { statement, name, gap } = next;
      await using rig = await openRig();
      const wrong = await deliver(rig, (proxy) => {
        void gap(rig, proxy, (said) => shapeOf(said) === statement).then(() => {
          struck += 1;
        });
      });
      expect({ name, statement, wrong }).toEqual({ name, statement, wrong: [] });
    }
  };
  const count = cases.length;
  await Promise.all(Array.from({ length: 6 }, lane));
  // Some statements come only now and then, such as those of a duty's round.
  expect(struck).toBeGreaterThan(count / 2);
});
