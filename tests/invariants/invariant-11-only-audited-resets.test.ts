import { expect, setDefaultTimeout, test } from "bun:test";
import { GroupAdministration, Groups } from "@sluice/broker";
import { consumer } from "@sluice/contract";
import { eventually, History } from "@sluice/testkit";
import { sql as text } from "drizzle-orm";
import type postgres from "postgres";
import { lagOf } from "./recording-groups.ts";
import { openRig, plant, type Rig, sendMany } from "./rig.ts";

setDefaultTimeout(60_000);

/** Lets the database note every position that goes back, with the transaction in which it did. */
async function noteMoves(sql: postgres.Sql): Promise<void> {
  await sql.unsafe(`
    create table public.move (xid xid8, position integer, old_next_offset bigint, next_offset bigint);
    create function public.note_move() returns trigger language plpgsql as $$
    begin
      insert into public.move values (pg_current_xact_id(), new.position, old.next_offset, new.next_offset);
      return null;
    end $$;
    create trigger note_move after update of next_offset on sluice.position for each row
      when (new.next_offset < old.next_offset) execute function public.note_move()`);
}

/** Invariant 11: positions that went back without an audit that says so, of the same transaction and the same step. */
async function wentBackUnseen(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ sentence: string }[]>`
    select format('position %s went from %s back to %s', m.position, m.old_next_offset, m.next_offset) as sentence
    from public.move m
    where not exists (
      select from sluice.audit a, json_array_elements(a.details -> 'moves') v
      where a.xmin = m.xid::xid and (v ->> 'position')::integer = m.position
        and (v ->> 'from')::bigint = m.old_next_offset and (v ->> 'to')::bigint = m.next_offset)`;
  return rows.map(({ sentence }) => sentence);
}

async function movedGroup(rig: Rig): Promise<GroupAdministration> {
  const { topic, entry } = await rig.topic("letters", 1);
  await sendMany(await rig.producer(), topic, new History(), { sender: "s", count: 10 });
  await new Groups(rig.pool()).join("readers", entry.number, "latest");
  await noteMoves(rig.sql);
  return new GroupAdministration(rig.pool());
}

test("[I11][K8] positions go back by audited resets alone", async () => {
  await using rig = await openRig();
  const groups = await movedGroup(rig);
  await groups.reset("readers", "letters", { offset: 6 });
  await groups.shift("readers", "letters", -2);
  await groups.clone("readers", "copies");
  await groups.reset("readers", "letters", "earliest", { dryRun: true });
  const [row] = await rig.sql`select count(*)::integer as moves from public.move`;
  expect(row?.["moves"]).toBe(2);
  expect(await wentBackUnseen(rig.sql)).toEqual([]);
});

test("[I11] the check sees a position that was set back by hand, and a reset that writes no audit", async () => {
  await using rig = await openRig();
  const groups = await movedGroup(rig);
  await rig.sql`update sluice.position set next_offset = 7`;
  expect(await wentBackUnseen(rig.sql)).toEqual(["position 1 went from 10 back to 7"]);
  await plant(rig.sql, "sluice.move_positions", [/perform sluice\.write_audit\([^;]*;/, ""]);
  await groups.reset("readers", "letters", { offset: 3 });
  expect(await wentBackUnseen(rig.sql)).toEqual([
    "position 1 went from 10 back to 7",
    "position 1 went from 7 back to 3",
  ]);
});

/** Writes of the owner before, after its position was moved by force. */
async function writeAfterReset(rig: Rig): Promise<string[]> {
  const administration = await movedGroup(rig);
  const groups = new Groups(rig.pool());
  const { epoch } = await groups.take(1, 1);
  await groups.commit([{ position: 1, epoch, nextOffset: 10, doneAbove: [] }]);
  await administration.reset("readers", "letters", { offset: 4 }, { force: true });
  const [mark] = await rig.sql`select sluice.mark_done(1, ${epoch}, 8) as outcome`;
  const accepted = await groups.commit([{ position: 1, epoch, nextOffset: 10, doneAbove: [] }]);
  return [
    ...(accepted.size > 0 ? ["the old owner wrote its position"] : []),
    ...(mark?.["outcome"] === "done" ? ["the old owner marked a message"] : []),
  ];
}

test("[I12][K8] after a reset the owner before commits nothing", async () => {
  await using rig = await openRig();
  expect(await writeAfterReset(rig)).toEqual([]);
});

test("[I12] the check sees a reset that does not raise the epoch", async () => {
  await using rig = await openRig();
  await plant(rig.sql, "sluice.move_positions", [/epoch = p\.epoch \+ 1/, "epoch = p.epoch"]);
  expect(await writeAfterReset(rig)).toEqual(["the old owner wrote its position", "the old owner marked a message"]);
});

test("[I12][I13][K8] a reset by force voids the transaction that a handler has open, and the group goes on from the new place", async () => {
  await using rig = await openRig();
  const { topic, entry } = await rig.topic("letters", 1);
  await sendMany(await rig.producer(), topic, new History(), { sender: "s", count: 5 });
  await rig.sql`create table public.effect ("offset" bigint, tries integer)`;
  const [reached, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let tries = 0;
  const writing = consumer(topic, {
    group: "writers",
    commitInterval: 20,
    handler: async (context) => {
      const tx = await context.tx();
      tries += 1;
      await tx.execute(text`insert into public.effect values (${context.offset}, ${tries})`);
      if (tries !== 3) return;
      reached.resolve();
      await goOn.promise;
    },
  });
  await rig.worker({ name: "writer", entry, consumer: writing, drainMs: 20_000 });
  rig.use({ [Symbol.asyncDispose]: async () => goOn.resolve() });
  await reached.promise;
  const groups = new GroupAdministration(rig.pool());
  await expect(groups.reset("writers", "letters", "earliest")).rejects.toThrow("at work");
  const [move] = await groups.reset("writers", "letters", { offset: 1 }, { force: true });
  expect(move).toMatchObject({ to: 1, note: "its member was fenced" });
  goOn.resolve();
  await eventually("the group is at the end", async () => (await lagOf(rig.sql, "writers")) === 0);
  const effects = await rig.sql<{ offset: number; tries: number }[]>`
    select "offset"::integer as offset, tries from public.effect order by tries`;
  // Offset 1 was done before and is repeated; the third try, of offset 2, was open during the reset and is void.
  expect(effects.map(({ offset, tries }) => [offset, tries])).toEqual([
    [0, 1],
    [1, 2],
    [1, 4],
    [2, 5],
    [3, 6],
    [4, 7],
  ]);
});
