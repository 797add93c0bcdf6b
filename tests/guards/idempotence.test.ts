import { expect, setDefaultTimeout, test } from "bun:test";
import { consumer, fixed } from "@sluice/contract";
import { openTopic } from "@sluice/log";
import { eventually } from "@sluice/testkit";
import { idempotent } from "@sluice/worker";
import { lagOf } from "../invariants/recording-groups.ts";
import { during, killBackends, openRig, plant, type Rig } from "../invariants/rig.ts";

setDefaultTimeout(30_000);

/** Hands messages over of which many carry one key, on two workers; gives how often each key had its effect. */
async function effects(rig: Rig, disturb: () => Promise<unknown>): Promise<number[]> {
  const { topic } = await rig.topic("letters", 4);
  const entry = await openTopic(rig.pool({ connections: 1 }), topic, { create: false });
  await rig.sql`create table effect (key text)`;
  const working = consumer(topic, {
    group: "workers",
    mode: "keyed",
    commitInterval: "10ms",
    retry: { attempts: 1_000, backoff: fixed("5ms") },
    handler: idempotent(
      (c) => c.value,
      async (c) => {
        const tx = await c.tx();
        await tx.execute(`insert into effect values ('${c.value}')`);
      },
    ),
  });
  const producer = await rig.producer();
  await producer.sendBatch(
    topic,
    Array.from({ length: 240 }, (_, index) => `key ${index % 8}`),
  );
  await rig.worker({ name: "one", consumer: working, entry });
  await rig.worker({ name: "two", consumer: working, entry });
  const finished = eventually("the group is at the end", async () => (await lagOf(rig.sql, "workers")) === 0);
  await during(finished, disturb);
  const rows = await rig.sql<{ times: number }[]>`select count(*)::integer as times from effect group by key`;
  return rows.map(({ times }) => times);
}

test("[R11] a key has its effect once, on several workers whose transactions are killed", async () => {
  await using rig = await openRig();
  let killed = 0;
  const times = await effects(rig, async () => {
    if (killed < 20) killed += await killBackends(rig.sql, "one handlers");
    if (killed < 20) killed += await killBackends(rig.sql, "two handlers");
    await rig.sql`select 1`;
  });
  expect(killed).toBeGreaterThan(0);
  expect(times).toEqual([1, 1, 1, 1, 1, 1, 1, 1]);
});

test("[R11] the check sees a key that is claimed by everybody", async () => {
  await using rig = await openRig();
  await plant(rig.sql, "sluice.claim_key", ["return found;", "return true;"]);
  const times = await effects(rig, () => rig.sql`select 1`);
  expect(times).toEqual([30, 30, 30, 30, 30, 30, 30, 30]);
});
