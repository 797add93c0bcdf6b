import { expect, setDefaultTimeout, test } from "bun:test";
import { Groups } from "@sluice/broker";
import { openRig, type Rig } from "../invariants/rig.ts";

setDefaultTimeout(30_000);

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
  const { entry } = await rig.topic("letters", 1);
  await new Groups(rig.pool()).join("readers", entry.number, "earliest");
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
  const { entry } = await rig.topic("letters", 1);
  await new Groups(rig.pool()).join("readers", entry.number, "earliest");
  await ownAndEnd(rig, 0, 300);
  const seen: (string | undefined)[] = [];
  for (let end = 0; end < 9; end += 1) seen.push((await ownAndEnd(rig, 0, 1_000)).suspects);
  expect(seen.slice(0, 3)).toEqual(["0 to 300", "0 to 300", "0 to 300"]);
  expect(seen.at(-1)).toBe("0 to 1000");
});
