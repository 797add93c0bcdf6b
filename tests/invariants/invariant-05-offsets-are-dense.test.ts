import { expect, setDefaultTimeout, test } from "bun:test";
import { crowd } from "./crowd.ts";
import { batchCount, gaps } from "./log-checks.ts";
import { during, killBackends, openRig, plant } from "./rig.ts";

setDefaultTimeout(60_000);

test("[I5][K1] offsets are dense although segments roll and appending backends are killed", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 3);
  const doomed = rig.pool({ name: "doomed", connections: 8 });
  let rounds = 0;
  const [calm, killed] = await during(
    Promise.all([
      crowd(rig.sql, entry.number, { partitions: 3, lanes: 6, each: 60 }),
      crowd(doomed.sql, entry.number, { partitions: 3, lanes: 6, each: 60 }),
    ]),
    async () => {
      rounds += 1;
      await killBackends(rig.sql, "doomed");
      if (rounds % 2 === 0) await rig.sql`select sluice.roll_segment(${entry.number})`;
      expect(await gaps(rig.sql, entry.number)).toEqual([]);
    },
  );
  expect(calm.refused).toEqual([]);
  expect(killed.refused.length).toBeGreaterThan(0);
  expect(await batchCount(rig.sql, entry.number)).toBeGreaterThanOrEqual(calm.acknowledged.length);
  expect(await gaps(rig.sql, entry.number)).toEqual([]);
});

test("[I5] the check sees offsets that come from a sequence, which keeps what a failed append took", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 1);
  await rig.sql.unsafe("create sequence public.counter minvalue 0");
  await plant(rig.sql, `sluice_log.append_${entry.number}`, [
    "if v_first >= 4611686018427387904 then",
    `v_firsts := array[nextval('public.counter')];
  if p_records like '%fail%' then raise exception 'refused'; end if;
  if v_first >= 4611686018427387904 then`,
  ]);
  const append = (value: string) =>
    rig.sql.unsafe(
      `select sluice_log.append_1(array[0], array[1], null, '["${value}"]', null, null, 0, false, 'on', null)`,
    );
  await append("a");
  await append("fail").catch(() => undefined);
  await append("b");
  expect(await gaps(rig.sql, entry.number)).toEqual(["partition 0: a batch begins at 2, the one before ends at 1"]);
});

test("[I5] the check sees an end of the log that is not where the last batch ends", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 1);
  await crowd(rig.sql, entry.number, { partitions: 1, lanes: 1, each: 3 });
  await rig.sql`select sluice.roll_segment(${entry.number})`;
  await rig.sql`update sluice.segment_start set start_offset = 5 where topic = ${entry.number} and segment = 1`;
  expect(await gaps(rig.sql, entry.number)).toEqual(["partition 0: the last batch ends at 3, the log at 5"]);
});
