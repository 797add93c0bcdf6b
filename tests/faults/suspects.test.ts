import { expect, setDefaultTimeout, test } from "bun:test";
import { Groups } from "@sluice/broker";
import { consumer, fixed } from "@sluice/contract";
import { eventually } from "@sluice/testkit";
import { openRig, plant, type Rig } from "../invariants/rig.ts";

setDefaultTimeout(30_000);

/** A group at the beginning of a log of 60,000 messages, which nobody reads. */
async function longTopic(rig: Rig): Promise<void> {
  const { entry } = await rig.topic("letters", 1);
  await new Groups(rig.pool()).join("readers", entry.number, "earliest");
  await rig.sql.unsafe(`
    insert into sluice_log.topic_${entry.number}_segment_0 (segment, partition, base_offset, count, appended_at, records)
    values (0, 0, 0, 60000, now(), '[]')`);
}

/** An owner that takes the position over, says how far it has come and what it may hand out, and ends without giving it back. */
async function ownAndEnd(rig: Rig, nextOffset: number, handedTo: number) {
  const [taken] = await rig.sql<{ epoch: string; suspects: string; crashes: number }[]>`
    select epoch, next_offset || ' to ' || suspect_to as suspects, crashes from sluice.take_over(1, null, 256)`;
  const [position] = await rig.sql<{ reserved: number }[]>`
    select (handed_to - next_offset)::integer as reserved from sluice.position where position = 1`;
  // As HandOutReserve believes.
  expect(position?.reserved).toBe((taken?.crashes ?? 0) > 1 ? 16 : 256);
  await rig.sql`select sluice.commit_positions('{1}', array[${taken?.epoch ?? 0}]::bigint[], array[${nextOffset}]::bigint[], '{"{}"}', array[${handedTo}]::bigint[])`;
  return { suspects: taken?.suspects, crashes: taken?.crashes };
}

test("[I16][I22] suspected is what each of the processes that ended may have had in hand, and no more with each further end", async () => {
  await using rig = await openRig();
  await longTopic(rig);
  // A busy owner, far ahead of what it has written; then a careful one.
  expect((await ownAndEnd(rig, 0, 50_000)).crashes).toBe(0);
  expect(await ownAndEnd(rig, 100, 400)).toEqual({ suspects: "0 to 50000", crashes: 1 });
  expect(await ownAndEnd(rig, 150, 30_000)).toEqual({ suspects: "100 to 400", crashes: 2 });
  expect(await ownAndEnd(rig, 390, 900)).toEqual({ suspects: "150 to 400", crashes: 3 });
  expect(await ownAndEnd(rig, 600, 900)).toEqual({ suspects: "390 to 400", crashes: 4 });
  // The position has passed them all: whoever ends now is the first again.
  expect(await ownAndEnd(rig, 600, 900)).toEqual({ suspects: "600 to 900", crashes: 1 });
});

test("[I16] where the position stays behind, another culprit above the suspects is one of them after some ends more", async () => {
  await using rig = await openRig();
  await longTopic(rig);
  await ownAndEnd(rig, 0, 300);
  const seen: (string | undefined)[] = [];
  for (let end = 0; end < 9; end += 1) seen.push((await ownAndEnd(rig, 0, 1_000)).suspects);
  expect(seen.slice(0, 3)).toEqual(["0 to 300", "0 to 300", "0 to 300"]);
  expect(seen.at(-1)).toBe("0 to 1000");
});

/** A reader of `letters`, and what it was given: each as `value attempt`. What is called "fresh" fails at first. */
async function startReader(rig: Rig, name: string) {
  const { topic, entry } = await rig.topic("letters", 1);
  const seen: string[] = [];
  const handler = ({ value, attempt }: { readonly value: string; readonly attempt: number }) => {
    seen.push(`${value} ${attempt}`);
    if (value === "fresh" && seen.filter((one) => one.startsWith("fresh")).length === 1) throw new Error("at first");
  };
  const retry = { attempts: 3, backoff: fixed("5ms") };
  await rig.worker({ name, entry, consumer: consumer(topic, { group: "readers", mode: "keyed", retry, handler }) });
  return { topic, seen };
}

/** Three ends over a position behind which there is nothing, and then a message that fails at first. */
async function failsAfterIdleEnds(rig: Rig): Promise<readonly string[]> {
  const { entry } = await rig.topic("letters", 1);
  await new Groups(rig.pool()).join("readers", entry.number, "earliest");
  for (let end = 0; end < 3; end += 1) await rig.sql`select from sluice.take_over(1, null, 256)`;
  const { topic, seen } = await startReader(rig, "reader");
  await (await rig.producer()).send(topic, "fresh", { key: "k" });
  const isOver = async () => {
    const [row] = await rig.sql`select count(*)::integer as letters from sluice.dead_letters`;
    return seen.length === 2 || row?.["letters"] === 1;
  };
  await eventually("it was handled or given up", isOver);
  return seen;
}

test("[I16][R5] processes that end while there is nothing to hand over cost no attempt of what comes later", async () => {
  await using rig = await openRig();
  expect(await failsAfterIdleEnds(rig)).toEqual(["fresh 1", "fresh 2"]);
});

test("[I16] the check sees a takeover that suspects what nobody had in hand", async () => {
  await using rig = await openRig();
  await plant(rig.sql, "sluice.take_over", [
    "least(p.handed_to, sluice.end_offset(p.topic, p.partition))",
    "p.handed_to",
  ]);
  expect(await failsAfterIdleEnds(rig)).toEqual(["fresh 3"]);
});

test("[I16][R8] a group that is moved begins anew: no message counts what was suspected before", async () => {
  await using rig = await openRig();
  const { topic, seen } = await startReader(rig, "reader");
  const producer = await rig.producer();
  for (const value of ["a", "b", "c"]) await producer.send(topic, value, { key: value });
  for (let round = 1; round <= 5; round += 1) {
    await eventually("all were handled", () => seen.length === 3 * round);
    await eventually("the position is written", async () => {
      const [row] = await rig.sql<{ next: number }[]>`select next_offset::integer as next from sluice.position`;
      return row?.next === 3;
    });
    if (round < 5) await rig.sql`select from sluice.reset_position('readers', 'letters', '0', force => true)`;
  }
  expect(new Set(seen)).toEqual(new Set(["a 1", "b 1", "c 1"]));
  const [row] = await rig.sql`select crashes, suspect_to::integer from sluice.position`;
  expect({ ...row }).toEqual({ crashes: 0, suspect_to: 0 });
});
