import { expect, test } from "bun:test";
import { topic } from "@sluice/contract";
import { openTopic } from "@sluice/log";
import { Pool } from "@sluice/store";
import { testDatabase } from "@sluice/testkit";
import { z } from "zod";
import { Groups, type OwnedPosition, type PutOff, Retries } from "./index.ts";

async function open() {
  const database = await testDatabase();
  const pool = new Pool(database.url, { connections: 3, applicationName: "test" });
  const groups = new Groups(pool);
  const entry = await openTopic(pool, topic("jobs", { schema: z.number(), partitions: 3 }), { create: true });
  const group = await groups.join("workers", entry.number, "earliest");
  const { positions } = await groups.survey([group]);
  const owners: OwnedPosition[] = [];
  for (const { position } of positions) owners.push({ position, epoch: (await groups.take(position, 1)).epoch });
  return {
    groups,
    retries: new Retries(pool),
    owners,
    /** Rewrites a function, to see that the check notices. */
    async plant(name: string, from: string, to: string): Promise<void> {
      const [row] = await pool.query<{ text: string }>(
        "reading a function",
        "select pg_get_functiondef(to_regproc($1)) as text",
        [name],
      );
      expect(row?.text).toContain(from);
      await pool.query("planting a defect", (row?.text ?? "").replace(from, to));
    },
    async [Symbol.asyncDispose]() {
      await pool.close();
      await database[Symbol.asyncDispose]();
    },
  };
}

const failed = (offset: number, isFirst = true): PutOff => ({
  offset,
  isFirst,
  attempt: 1,
  delayMs: 1_000,
  blocks: "nothing",
  id: `m-${offset}`,
  key: null,
  value: String(offset),
  headers: { at: String(offset) },
  timestamp: 1_700_000_000_000,
  appendedAtMs: 1_700_000_000_500,
  timeToLiveMs: 60_000,
  error: "Error: no",
});

/** What is kept of each of them. */
const kept = {
  error: "Error: no",
  timestamp: 1_700_000_000_000,
  appendedAtMs: 1_700_000_000_500,
  timeToLiveMs: 60_000,
};

type Opened = Awaited<ReturnType<typeof open>>;

/** All three calls for all partitions at once, after the second partition was taken by another owner. */
async function afterATakeover({ groups, retries, owners }: Opened) {
  const [, lost] = owners;
  if (lost === undefined) throw new Error("there are three positions");
  await retries.putOff([{ owner: lost, message: failed(7) }]);
  const { epoch } = await groups.take(lost.position, 2);
  const putOff = await retries.putOff(owners.map((owner) => ({ owner, message: failed(5) })));
  const begun = await retries.begin([...owners, { ...lost, epoch }].map((owner) => ({ owner, offset: 7 })));
  const again = await retries.begin(owners.map((owner) => ({ owner, offset: 5 })));
  const ended = await retries.end(owners.map((owner) => ({ owner, offset: 5 })));
  return { putOff, begun, again, ended, left: (await retries.waiting(lost.position, 10)).map(({ offset }) => offset) };
}

test("[I12] of what is written for many partitions at once, what an old owner wants is left out, and nothing else", async () => {
  await using opened = await open();
  const { putOff, begun, again, ended, left } = await afterATakeover(opened);
  expect(putOff).toEqual(["put off", "fenced", "put off"]);
  expect(begun).toEqual([undefined, "fenced", undefined, expect.objectContaining({ offset: 7, attempt: 2 })]);
  expect(again).toEqual([
    expect.objectContaining({ ...kept, offset: 5, attempt: 2, id: "m-5", value: "5", headers: { at: "5" } }),
    "fenced",
    expect.objectContaining({ offset: 5, attempt: 2, timestamp: 1_700_000_000_000 }),
  ]);
  expect(ended).toEqual(["over", "fenced", "over"]);
  expect(left).toEqual([7]);
});

test("[I12] the check sees a statement that asks for no epoch", async () => {
  await using opened = await open();
  await opened.plant("sluice.put_off_all", "p.epoch = m.epoch", "p.epoch is not null");
  expect((await afterATakeover(opened)).putOff).not.toContain("fenced");
});

test("putting a message off once more says the same, and one that was done already is not put off", async () => {
  await using opened = await open();
  const [owner] = opened.owners;
  if (owner === undefined) throw new Error("there are three positions");
  const entry = { owner, message: failed(3) };
  expect(await opened.retries.putOff([entry])).toEqual(["put off"]);
  expect(await opened.retries.putOff([entry])).toEqual(["put off"]);
  expect(await opened.retries.end([{ owner, offset: 3 }])).toEqual(["over"]);
  // Its marker is there until the position has passed it.
  expect(await opened.retries.putOff([entry, { owner, message: failed(4, false) }])).toEqual(["already", "already"]);
});
