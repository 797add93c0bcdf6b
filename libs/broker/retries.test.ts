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
    /** Marks a message as done, as its handler's transaction does. */
    async mark({ position, epoch }: OwnedPosition, offset: number): Promise<void> {
      await pool.query("marking", "select sluice.mark_done($1, $2, $3)", [position, epoch, offset]);
    },
    async marks({ position }: OwnedPosition): Promise<number[]> {
      const rows = await pool.query<{ offset: string }>(
        "looking at markers",
        'select "offset" from sluice.done where position = $1 order by 1',
        [position],
      );
      return rows.map(({ offset }) => Number(offset));
    },
    /** Gives a message up, as its last attempt does. */
    async bury(owner: OwnedPosition, offset: number): Promise<void> {
      const { isFirst, delayMs, blocks, mayBeDone, ...message } = failed(offset);
      const home = { group, topic: entry.number, partition: 0, reason: "exhausted", attempts: 3 } as const;
      expect(await new Retries(pool).bury(owner, { ...message, ...home })).toBe("buried");
    },
    /** Rewrites a function, to see that the check notices. */
    async plant(name: string, from: string, to: string): Promise<void> {
      const [row] = await pool.query<{ text: string }>(
        "reading a function",
        "select pg_get_functiondef(oid) as text from pg_proc where pronamespace::regnamespace || '.' || proname = $1 and strpos(prosrc, $2) > 0",
        [name, from],
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
  mayBeDone: true,
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
  const begun = await retries.begin([...owners, { ...lost, epoch }].map((owner) => ({ owner, offset: 7, attempt: 2 })));
  const again = await retries.begin(owners.map((owner) => ({ owner, offset: 5, attempt: 2 })));
  const ended = await retries.end(owners.map((owner) => ({ owner, offset: 5 })));
  return { putOff, begun, again, ended, left: (await retries.waiting(lost.position)).map(({ offset }) => offset) };
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
  await opened.plant("sluice.keep_failures", "p.epoch = m.epoch", "p.epoch is not null");
  expect((await afterATakeover(opened)).putOff).not.toContain("fenced");
});

test("putting a message off once more says the same", async () => {
  await using opened = await open();
  const [owner] = opened.owners;
  if (owner === undefined) throw new Error("there are three positions");
  const entry = { owner, message: failed(3) };
  expect(await opened.retries.putOff([entry])).toEqual(["put off"]);
  expect(await opened.retries.putOff([entry])).toEqual(["put off"]);
  expect(await opened.retries.waiting(owner.position)).toHaveLength(1);
});

/** What an owner hears that asks twice for the same: the answer to the first was lost. */
async function askTwice({ groups, retries, owners }: Opened) {
  const [owner] = owners;
  if (owner === undefined) throw new Error("there are three positions");
  await retries.putOff([{ owner, message: failed(3) }]);
  const twice = async <Answer>(ask: () => Promise<Answer>) => [await ask(), await ask()];
  const attempts = async (attempt: number) => {
    const answers = await twice(() => retries.begin([{ owner, offset: 3, attempt }]));
    return answers.map(([begun]) => (typeof begun === "object" ? begun.attempt : begun));
  };
  const begun = [...(await attempts(2)), ...(await attempts(3))];
  // The last one did not count after all, and this one says more than there were.
  await retries.putOff([{ owner, message: { ...failed(3), isFirst: false, attempt: 1 } }]);
  begun.push(...(await attempts(4)).slice(0, 1));
  const handedOut = await twice(() => retries.handOut(owner, 8, 4));
  const next = { ...owner, epoch: (await groups.take(owner.position, 2)).epoch };
  handedOut.push(...(await twice(() => retries.handOut(next, 8, 4))));
  return { begun, handedOut };
}

test("[R3][R5] an attempt counts once, although the answer to its count was lost", async () => {
  await using opened = await open();
  expect(await askTwice(opened)).toEqual({ begun: [2, 2, 3, 3, 2], handedOut: [4, 4, 5, 5] });
});

test("the check sees attempts that count once more when they are asked for again", async () => {
  await using opened = await open();
  await opened.plant("sluice.begin_all_retries", "least(a.attempt, r.attempt + 1)", "r.attempt + 1");
  await opened.plant("sluice.hand_out", "h.epoch = p_epoch", "false");
  expect(await askTwice(opened)).toEqual({ begun: [2, 3, 4, 5, 2], handedOut: [4, 5, 6, 7] });
});

/** What is said of a message that was done in its transaction when it is put off: for the first time, and as one that was put off before. */
async function putOffWhatIsDone({ retries, owners, mark }: Opened) {
  const [owner] = owners;
  if (owner === undefined) throw new Error("there are three positions");
  await retries.putOff([{ owner, message: failed(4) }]);
  await mark(owner, 3);
  await mark(owner, 4);
  const outcomes = await retries.putOff([failed(3), failed(4, false)].map((message) => ({ owner, message })));
  return { outcomes, left: await retries.waiting(owner.position) };
}

test("[I13] what was done after all, although nobody heard of it, is not put off", async () => {
  await using opened = await open();
  expect(await putOffWhatIsDone(opened)).toEqual({ outcomes: ["already", "already"], left: [] });
});

/** A message whose handler opened no transaction is put off, and another owner comes; tells what that finds. */
async function putOffForCertain({ groups, retries, owners, marks, bury }: Opened) {
  const [owner] = owners;
  if (owner === undefined) throw new Error("there are three positions");
  const entries = [5, 6, 7].map((offset) => ({ owner, message: { ...failed(offset), mayBeDone: false } }));
  const outcomes = [await retries.putOff(entries), await retries.putOff(entries)];
  const marked = await marks(owner);
  await bury(owner, 6);
  await retries.end([{ owner, offset: 7 }]);
  const { doneAbove } = await groups.take(owner.position, 2);
  const waiting = (await retries.waiting(owner.position)).map(({ offset }) => offset);
  return { outcomes, marked, doneAbove, waiting };
}

test("[R1][I15] what is certain to be undone leaves no marker; while it waits, and when it is dead, it is nobody else's", async () => {
  await using opened = await open();
  expect(await putOffForCertain(opened)).toEqual({
    outcomes: [
      ["put off", "put off", "put off"],
      ["put off", "put off", "put off"],
    ],
    marked: [],
    // The one that was done comes again, as any other whose position was not written.
    doneAbove: [[5, 7]],
    waiting: [5],
  });
});

test("[I15] the check sees a takeover that does not know what waits, and a dead letter without its marker", async () => {
  await using opened = await open();
  await opened.plant("sluice.take_over", "where r.position = p_position", "where false");
  expect((await putOffForCertain(opened)).doneAbove).toEqual([[6, 7]]);
  await using other = await open();
  await other.plant("sluice.bury", "v_offset >= v_next", "not v_is_kept");
  expect((await putOffForCertain(other)).doneAbove).toEqual([[5, 6]]);
});

test("[I13] the check sees a message put off that finds itself marked as done", async () => {
  await using opened = await open();
  await opened.plant("sluice.keep_failures", "f.first and (f.position", "f.first or (f.position");
  expect((await putOffWhatIsDone(opened)).left).not.toEqual([]);
});

test("[R5][I12] an attempt is counted once however often that is asked, and never for an old owner or a message that is done", async () => {
  await using opened = await open();
  const [owner, , other] = opened.owners;
  if (owner === undefined || other === undefined) throw new Error("there are three positions");
  await opened.retries.putOff([5, 6].map((offset) => ({ owner, message: failed(offset) })));
  const old = { owner: { ...owner, epoch: owner.epoch - 1 }, offset: 6, attempt: 9 };
  const asked = [{ owner, offset: 5, attempt: 2 }, { owner, offset: 7, attempt: 2 }, old];
  expect(await opened.retries.count(asked)).toEqual(["counted", "gone", "fenced"]);
  expect(await opened.retries.count(asked.slice(0, 1))).toEqual(["counted"]);
  const rows = await opened.retries.waiting(owner.position);
  expect(rows.map(({ offset, attempt, inHand }) => ({ offset, attempt, inHand }))).toEqual([
    { offset: 5, attempt: 2, inHand: true },
    { offset: 6, attempt: 1, inHand: false },
  ]);
});

/** Where the next owner goes on, when a message was put off and is over before its position was written. */
async function afterAnEnd({ groups, retries, owners: [owner] }: Opened) {
  if (owner === undefined) throw new Error("there are three positions");
  await retries.putOff([{ owner, message: failed(3) }]);
  expect(await retries.end([{ owner, offset: 3 }])).toEqual(["over"]);
  return (await groups.take(owner.position, 2)).doneAbove;
}

test("[I16] a message that is over is not handed over again, although its position has not passed it", async () => {
  await using opened = await open();
  expect(await afterAnEnd(opened)).toEqual([[3, 4]]);
});

test("[I16] the check sees a row that takes its marker along", async () => {
  await using opened = await open();
  await opened.plant("sluice.settle_retries", "get diagnostics", "delete from sluice.done; get diagnostics");
  expect(await afterAnEnd(opened)).toEqual([]);
});

/** Drops messages that the position has not passed, twice because an answer was lost, and one that it has; tells what the next owner finds. */
async function dropAhead({ groups, retries, owners, marks }: Opened) {
  const [owner, , other] = owners;
  if (owner === undefined || other === undefined) throw new Error("there are three positions");
  const putOff = [5, 6].map((offset) => ({ owner, message: { ...failed(offset), mayBeDone: false } }));
  await retries.putOff([...putOff, { owner: other, message: { ...failed(2), mayBeDone: false } }]);
  await groups.commit([{ ...other, nextOffset: 3, doneAbove: [], handedTo: 3 }]);
  const old = { owner: { ...other, epoch: other.epoch - 1 }, offset: 4 };
  // The last was never put off.
  const dropped = [{ owner: other, offset: 2 }, old, { owner, offset: 5 }, { owner, offset: 8 }];
  const outcomes = [await retries.drop(dropped), await retries.drop(dropped)];
  const marked = [await marks(owner), await marks(other)];
  const { doneAbove } = await groups.take(owner.position, 2);
  const waiting = await Promise.all([owner, other].map(({ position }) => retries.waiting(position)));
  return { outcomes, marked, doneAbove, waiting: waiting.map((rows) => rows.map(({ offset }) => offset)) };
}

test("[R5][I12][I16] what was dropped is not handed over again, although its position has not passed it; what is passed leaves nothing", async () => {
  await using opened = await open();
  expect(await dropAhead(opened)).toEqual({
    outcomes: [
      ["over", "fenced", "over", "over"],
      ["over", "fenced", "over", "over"],
    ],
    marked: [[5, 8], []],
    // What waits is nobody else's either.
    doneAbove: [
      [5, 7],
      [8, 9],
    ],
    waiting: [[6], []],
  });
});

test("[I16] the check sees a drop that forgets what it drops, and one that marks what was passed", async () => {
  await using opened = await open();
  await opened.plant("sluice.drop_messages", 'a."offset" >= v_next', "false");
  expect((await dropAhead(opened)).doneAbove).toEqual([[6, 7]]);
  await using other = await open();
  await other.plant("sluice.drop_messages", 'a."offset" >= v_next', "true");
  expect((await dropAhead(other)).marked).toEqual([[5, 8], [2]]);
});
