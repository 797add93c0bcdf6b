import { expect, setDefaultTimeout, test } from "bun:test";
import { type AppendAnswer, repeatAnswersFirstOffset } from "@sluice/testkit";
import type postgres from "postgres";
import { appendOne } from "./log-checks.ts";
import { openRig, plant, readTopic } from "./rig.ts";

setDefaultTimeout(60_000);

/** Sends the same append again and again from several connections, other appends in between, and keeps every answer. */
async function repeatOften(
  sql: postgres.Sql,
  topic: number,
  between: (round: number) => Promise<unknown>,
): Promise<AppendAnswer[]> {
  const answers: AppendAnswer[] = [];
  const producer = 4_711;
  for (let round = 0; round < 6; round += 1) {
    const appendAll = (repeat: boolean) =>
      Promise.all(
        [0, 1, 2].map(async (sequence) => {
          const offset = await appendOne(sql, topic, 0, `value ${sequence}`, { producer, sequence, repeat });
          answers.push({ producer, sequence, partition: 0, offset });
        }),
      );
    await appendAll(round > 0);
    await Promise.all([appendAll(true), appendAll(true)]);
    await appendOne(sql, topic, 0, `other ${round}`);
    await between(round);
  }
  return answers;
}

test("[I8][K4] a repeat answers the offset of the first time, on any connection, also from the segment before", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 1);
  const answers = await repeatOften(rig.sql, entry.number, async (round) => {
    if (round === 2) await rig.sql`select sluice.roll_segment(${entry.number})`;
  });
  expect(answers).toHaveLength(54);
  expect(repeatAnswersFirstOffset(answers)).toEqual([]);
  expect(await readTopic(rig.sql, "letters")).toHaveLength(3 + 6);
});

test("[I8][K4] a repeat answers the offset of the first time, although the segment rolled twice in between", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 1);
  const answers = await repeatOften(rig.sql, entry.number, () => rig.sql`select sluice.roll_segment(${entry.number})`);
  expect(repeatAnswersFirstOffset(answers)).toEqual([]);
  expect(await readTopic(rig.sql, "letters")).toHaveLength(3 + 6);
});

test("[I8] a flush to many partitions that is repeated answers all offsets of the first time", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 3);
  const append = async (repeat: boolean) => {
    const [row] = await rig.sql.unsafe<{ offsets: string }[]>(
      `select array_to_string(sluice_log.append_${entry.number}(array[0, 1, 2], array[2, 1, 1], null,
        concat('["a","b"]', repeat(E'\\x1e', 32), '["c"]', repeat(E'\\x1e', 32), '["d"]'), null, 9, 0, $1, 'on', null), ',') as offsets`,
      [repeat],
    );
    return row?.offsets;
  };
  await appendOne(rig.sql, entry.number, 1, "other");
  expect(await append(false)).toBe("0,1,0");
  await appendOne(rig.sql, entry.number, 2, "other");
  expect(await append(true)).toBe("0,1,0");
  await rig.sql`select sluice.roll_segment(${entry.number})`;
  expect(await append(true)).toBe("0,1,0");
  expect(await readTopic(rig.sql, "letters")).toHaveLength(6);
});

test("[I8] the check sees an append that does not look for what was there before", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 1);
  await plant(rig.sql, `sluice_log.append_${entry.number}`, [/if p_repeat or [^;]*? then/, "if false then"]);
  await rig.sql.unsafe("drop index sluice_log.topic_1_segment_0_sequence");
  const answers = await repeatOften(rig.sql, entry.number, async () => undefined);
  const violations = repeatAnswersFirstOffset(answers);
  expect(violations).toHaveLength(54 - 3);
  expect(violations[0]).toMatch(
    /^producer 4711, sequence \d: first partition 0, offset \d, then partition 0, offset \d$/,
  );
});
