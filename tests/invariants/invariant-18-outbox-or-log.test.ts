import { expect, setDefaultTimeout, test } from "bun:test";
import { eventually, History } from "@sluice/testkit";
import postgres from "postgres";
import { lagOf, recording } from "./recording-groups.ts";
import { during, killBackends, openRig, plant } from "./rig.ts";

setDefaultTimeout(60_000);

/** Invariant 18 in one statement, and so in one snapshot: messages that are not in exactly one of outbox and log. */
async function misplaced(
  sql: postgres.Sql,
  committed: readonly string[],
  undone: readonly string[],
): Promise<string[]> {
  const rows = await sql<{ sentence: string }[]>`
    with place as (select 'o-' || outbox as id from sluice.outbox union all select id from topics.letters),
    counted as (select id, count(*) as places from place group by id)
    select format('%s is in %s places', id, places) as sentence from counted where places > 1
    union all
    select format('%s was committed and is nowhere', c.id) from unnest(string_to_array(${committed.join(",")}, ',')) c(id)
    where c.id not in (select id from counted)
    union all
    select format('%s was rolled back and is there', c.id) from unnest(string_to_array(${undone.join(",")}, ',')) c(id)
    where c.id in (select id from counted)`;
  return rows.map(({ sentence }) => sentence);
}

test("[I18][N1][N3] a message is in the outbox or in the log, never in both, never in none, while relays are killed and transactions held open", async () => {
  await using rig = await openRig();
  const { topic, entry } = await rig.topic("letters", 3);
  const history = new History();
  for (const name of ["first", "second"])
    await rig.worker({ name, entry, ...recording(topic, history, { group: "readers" }) });
  const producer = await rig.producer();
  const committed: string[] = [];
  const undone: string[] = [];
  // One transaction with a message stays open from before until after; another one, in another database, does so too.
  // (The driver reserves only connections that have been used: one that it opens for it would never be handed out.)
  await rig.sql`select 1`;
  const holder = await rig.sql.reserve();
  await holder`begin`;
  const [held] = await holder`select sluice.send('letters', '"held"') as id`;
  const elsewhere = new URL(rig.url);
  elsewhere.pathname = "/postgres";
  const other = postgres(elsewhere.href, { max: 1 });
  const holdOther = await other.reserve();
  await holdOther`begin`;
  await holdOther`select pg_current_xact_id()`;
  const lane = async (number: number) => {
    for (let index = 0; index < 40; index += 1) {
      const ids: string[] = [];
      const outcome = await rig.sql
        .begin(async (tx) => {
          const [row] = await tx<{ id: string }[]>`
            select sluice.send('letters', to_json(${`${number}-${index}`}::text), key => ${String(index)}) as id`;
          ids.push(row?.id ?? "");
          ids.push((await producer.send(topic, `${number}-${index}-more`, { tx })).id);
          if (index % 4 === 3) throw new Error("changed my mind");
        })
        .then(
          () => committed,
          () => undone,
        );
      outcome.push(...ids);
    }
  };
  let rounds = 0;
  await during(Promise.all([0, 1, 2, 3].map(lane)), async () => {
    rounds += 1;
    const [known, gone] = [[...committed], [...undone]];
    expect(await misplaced(rig.sql, known, gone)).toEqual([]);
    if (rounds % 5 === 0) await killBackends(rig.sql, rounds % 2 === 0 ? "first" : "second");
    if (rounds % 7 === 0) await killBackends(rig.sql, rounds % 2 === 0 ? "sluice first" : "sluice second");
  });
  const [before] = await rig.sql<{ left: number }[]>`select count(*)::integer as left from sluice.outbox`;
  expect(await misplaced(rig.sql, committed, [...undone, String(held?.["id"])])).toEqual([]);
  await holder`commit`;
  committed.push(String(held?.["id"]));
  expect(await misplaced(rig.sql, committed, undone)).toEqual([]);
  await eventually("the outbox is empty", async () => (await rig.sql`select from sluice.outbox limit 1`).length === 0);
  expect(await misplaced(rig.sql, committed, undone)).toEqual([]);
  await eventually("the group is at the end", async () => (await lagOf(rig.sql, "readers")) === 0);
  expect(before?.left).toBeGreaterThanOrEqual(0);
  expect(rounds).toBeGreaterThan(5);
  expect([committed.length, undone.length]).toEqual([4 * 60 + 1, 4 * 20]);
  expect(new Set(history.deliveries.map(({ value }) => value)).size).toBe(4 * 60 + 1);
  holder.release();
  await holdOther`rollback`;
  holdOther.release();
  await other.end();
});

for (const [defect, part, replacement, violation] of [
  [
    "moves without deleting",
    /delete from sluice\.outbox o using picked p where ([^)]*?) returning o\.\*/,
    "select o.* from sluice.outbox o, picked p where $1",
    "o-1 is in 2 places",
  ],
  ["deletes without appending", /perform sluice\.let_in[^;]*;/, "", "o-1 was committed and is nowhere"],
] as const) {
  test(`[I18] the check sees a relay that ${defect}`, async () => {
    await using rig = await openRig();
    await rig.topic("letters", 1);
    await plant(rig.sql, "sluice.relay", [part, replacement]);
    await rig.sql`select sluice.send('letters', '"a"')`;
    await rig.sql`select * from sluice.relay(sluice.take_duty(1, 'test'), null, 100)`;
    expect(await misplaced(rig.sql, ["o-1"], [])).toEqual([violation]);
  });
}

test("[I18] a relay that lost its duty is refused, and the check sees what two of them would do", async () => {
  await using rig = await openRig();
  await rig.topic("letters", 1);
  await rig.sql`select sluice.send('letters', '"a"')`;
  const [row] = await rig.sql<{ epoch: string }[]>`select sluice.take_duty(1, 'before') as epoch`;
  await rig.sql`select sluice.take_duty(1, 'now')`;
  const late = await rig.sql`select * from sluice.relay(${row?.epoch ?? ""}, null, 100)`.catch(
    (error: unknown) => error,
  );
  expect((late as { code?: string }).code).toBe("SL001");
  await rig.sql.unsafe("alter table sluice.outbox drop constraint outbox_pkey");
  await rig.sql`insert into sluice.outbox select * from sluice.outbox`.catch(() => undefined);
  await rig.sql.unsafe(
    "insert into sluice.outbox (outbox, xid, topic, partition, value) overriding system value select outbox, xid, topic, partition, value from sluice.outbox limit 1",
  );
  expect((await misplaced(rig.sql, ["o-1"], [])).length).toBe(1);
});
