import { expect, setDefaultTimeout, test } from "bun:test";
import { consumer, fixed, type Topic } from "@sluice/contract";
import { eventually, History } from "@sluice/testkit";
import { lagOf } from "./recording-groups.ts";
import { openRig, plant, type Rig, sendMany } from "./rig.ts";

setDefaultTimeout(60_000);

interface Passed {
  readonly key: string;
  readonly number: number;
}

/** Handles letters such as "a-3", and notes those that passed. */
function noting(topic: Topic<string>, passed: Passed[], mayPass: (letter: Passed, attempt: number) => boolean) {
  return consumer(topic, {
    group: "readers",
    mode: "keyed",
    commitInterval: 10,
    retry: { attempts: 1_000, backoff: fixed("5ms") },
    handler: (c) => {
      const [key, number] = c.value.split("-");
      const letter = { key: key ?? "", number: Number(number) };
      if (!mayPass(letter, c.attempt)) throw new Error("not yet");
      passed.push(letter);
    },
  });
}

/** Invariant 21: what has passed of each key, in the order in which it was sent. */
function outOfOrder(passed: readonly Passed[]): string[] {
  const last = new Map<string, number>();
  return passed.flatMap(({ key, number }) => {
    const before = last.get(key) ?? -1;
    last.set(key, Math.max(before, number));
    return number > before ? [] : [`${key}-${number} passed after ${key}-${before}`];
  });
}

/** Two owners one after the other: the first fails with a letter of each key, the second is done with all of them. */
async function failAndTakeOver(rig: Rig): Promise<readonly Passed[]> {
  const { topic, entry } = await rig.topic("letters", 1);
  const producer = await rig.producer();
  const keys = ["a", "b", "c", "d"];
  for (const key of keys) await sendMany(producer, topic, new History(), { sender: key, count: 10 });
  const passed: Passed[] = [];
  const failing = noting(topic, passed, ({ key, number }) => number !== keys.indexOf(key) * 2);
  const first = await rig.worker({ name: "first", entry, consumer: failing });
  await eventually("a letter of each key waits", async () => {
    const rows = await rig.sql`select from sluice.retries where attempt > 2`;
    return rows.length === 4;
  });
  await first.close();
  const second = noting(topic, passed, ({ number }, attempt) => number % 3 !== 1 || attempt % 3 === 0);
  await rig.worker({ name: "second", entry, consumer: second });
  await eventually("all of it has passed", async () => (await lagOf(rig.sql, "readers")) === 0);
  return passed;
}

test("[I21][N2] per key, order holds across failures and a change of owner", async () => {
  await using rig = await openRig();
  const passed = await failAndTakeOver(rig);
  expect(passed).toHaveLength(40);
  expect(outOfOrder(passed)).toEqual([]);
});

test("[I21] the check sees a retry that has lost its key", async () => {
  await using rig = await openRig();
  await plant(rig.sql, "sluice.keep_failures", ["f.blocks, f.id, f.key,", "f.blocks, f.id, null,"]);
  expect(outOfOrder(await failAndTakeOver(rig))).not.toEqual([]);
});
