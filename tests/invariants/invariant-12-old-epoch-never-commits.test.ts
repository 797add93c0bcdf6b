import { expect, setDefaultTimeout, test } from "bun:test";
import { Groups } from "@sluice/broker";
import { eventually, History, oldEpochNeverCommits } from "@sluice/testkit";
import { RecordingGroups } from "./recording-groups.ts";
import { openRig, plant, type Rig } from "./rig.ts";
import { freezeAndTakeOver } from "./takeover.ts";

setDefaultTimeout(60_000);

test("[I12] an owner that was frozen and thaws commits nothing under its old epoch", async () => {
  const history = new History();
  await using _rig = await freezeAndTakeOver(history, async () => undefined);
  expect(history.positions.filter(({ kind }) => kind === "taken").length).toBeGreaterThan(1);
  expect(history.positions.filter(({ kind }) => kind === "committed").length).toBeGreaterThan(0);
  expect(oldEpochNeverCommits(history.positions)).toEqual([]);
});

/** Two owners; the first writes once more after the second has taken over. */
async function writeAsZombie(rig: Rig): Promise<string[]> {
  const { entry } = await rig.topic("letters", 1);
  const history = new History();
  const groups = new RecordingGroups(rig.pool(), history);
  await groups.join("readers", entry.number, "earliest");
  const before = await groups.take(1, 1);
  await groups.commit([{ position: 1, epoch: before.epoch, nextOffset: 2, doneAbove: [] }]);
  const now = await groups.take(1, 2);
  await groups.commit([{ position: 1, epoch: before.epoch, nextOffset: 3, doneAbove: [] }]);
  await groups.commit([{ position: 1, epoch: now.epoch, nextOffset: 4, doneAbove: [] }]);
  expect(history.positions.length).toBeGreaterThanOrEqual(4);
  return oldEpochNeverCommits(history.positions);
}

test("[I12] a write under an old epoch is refused", async () => {
  await using rig = await openRig();
  expect(await writeAsZombie(rig)).toEqual([]);
});

test("[I12] the check sees a write that does not compare epochs", async () => {
  await using rig = await openRig();
  await plant(rig.sql, "sluice.commit_positions", [/ and p\.epoch = p_epochs\[i\]/, ""]);
  expect(await writeAsZombie(rig)).toEqual(["position 1: epoch 1 wrote 3 after epoch 2 had begun"]);
});

/**
 * A handler's transaction has marked its message and not committed yet, when somebody takes the position over. Resolves
 * with what was visible as done after the takeover that the takeover itself had not seen.
 */
async function takeOverInFlight(rig: Rig): Promise<string[]> {
  const { entry } = await rig.topic("letters", 1);
  const groups = new Groups(rig.pool());
  await groups.join("readers", entry.number, "earliest");
  const { epoch } = await groups.take(1, 1);
  let taking: ReturnType<Groups["take"]> | undefined;
  let taken = false;
  await rig.sql.begin(async (handler) => {
    const [mark] = await handler`select sluice.mark_done(1, ${epoch}, 0) as outcome`;
    expect(mark?.["outcome"]).toBe("done");
    taking = groups.take(1, 2).finally(() => {
      taken = true;
    });
    await eventually("the takeover is over or waits for the fence", async () => {
      const waiting = await rig.sql`
        select from pg_locks where locktype = 'advisory' and classid = 1936487683 and not granted
          and database = (select oid from pg_database where datname = current_database())`;
      return taken || waiting.length > 0;
    });
  });
  const known = (await taking)?.doneAbove ?? [];
  const done = await rig.sql<{ offset: number }[]>`select "offset"::integer as offset from sluice.done`;
  expect(done).toHaveLength(1);
  return done.flatMap(({ offset }) =>
    known.some(([from, to]) => from <= offset && offset < to)
      ? []
      : [`offset ${offset} was committed under epoch ${epoch} after the takeover`],
  );
}

test("[I12] a takeover waits for a handler's transaction that is about to commit, and knows what it did", async () => {
  await using rig = await openRig();
  expect(await takeOverInFlight(rig)).toEqual([]);
});

test("[I12] the check sees a mark that does not hold the fence", async () => {
  await using rig = await openRig();
  await plant(rig.sql, "sluice.mark_done", [/perform pg_advisory_xact_lock_shared\([^;]*;/, ""]);
  expect(await takeOverInFlight(rig)).toEqual(["offset 0 was committed under epoch 1 after the takeover"]);
});

test("[I12] a mark under an old epoch is refused, and the check sees one that is not", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 1);
  const groups = new Groups(rig.pool());
  await groups.join("readers", entry.number, "earliest");
  const { epoch } = await groups.take(1, 1);
  await groups.take(1, 2);
  const mark = async () => (await rig.sql`select sluice.mark_done(1, ${epoch}, 0) as outcome`)[0]?.["outcome"];
  expect(await mark()).toBe("fenced");
  await plant(rig.sql, "sluice.mark_done", [/ and epoch = p_epoch/, ""]);
  expect(await mark()).toBe("done");
});
