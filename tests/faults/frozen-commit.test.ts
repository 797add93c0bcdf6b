import { expect, setDefaultTimeout, test } from "bun:test";
import { eventually, History, startProxy } from "@sluice/testkit";
import { lagOf } from "../invariants/recording-groups.ts";
import { killBackends, openRig, plant, sendMany } from "../invariants/rig.ts";
import { effectWriter, inexactEffects, makeEffectTable } from "./effects.ts";

setDefaultTimeout(60_000);

test("[N1][I12][I13] a process that is frozen between its mark and its COMMIT keeps nobody from its partition", async () => {
  await using rig = await openRig();
  await makeEffectTable(rig.sql);
  const proxy = rig.use(await startProxy(rig.url));
  const { topic, entry } = await rig.topic("letters", 1);
  await sendMany(await rig.producer(), topic, new History(), { sender: "s", count: 5 });
  // Time to be frozen in: the mark takes a moment, and its answer does not arrive.
  const fence = "perform pg_advisory_xact_lock_shared(1936487683, p_position);";
  await plant(rig.sql, "sluice.mark_done", [fence, `${fence} perform pg_sleep(0.3);`]);
  await rig.worker({ name: "frozen", url: proxy.url, entry, consumer: effectWriter(topic, { worker: "frozen" }) });
  await eventually("its message is being marked", async () => {
    const marking = await rig.sql`
      select from pg_stat_activity where datname = current_database() and application_name = 'frozen handlers' and wait_event = 'PgSleep'`;
    return marking.length > 0;
  });
  proxy.freeze();
  await rig.worker({ name: "next", entry, consumer: effectWriter(topic, { worker: "next" }), background: true });
  // What its server process does when nothing is heard for the lease; only sooner.
  await killBackends(rig.sql, "sluice frozen");
  await eventually("the next one is at the end", async () => (await lagOf(rig.sql, "writers")) === 0, 30_000);
  expect(await inexactEffects(rig.sql)).toEqual([]);
  const workers = await rig.sql<{ worker: string }[]>`select distinct worker from public.effect`;
  expect(workers.map(({ worker }) => worker)).toEqual(["next"]);
  proxy.cutAll();
  proxy.thaw();
});
