import { expect, setDefaultTimeout, test } from "bun:test";
import { eventually, History } from "@sluice/testkit";
import postgres from "postgres";
import { crowd } from "./crowd.ts";
import { lagOf, recording } from "./recording-groups.ts";
import { killBackends, openRig, plant, sendMany } from "./rig.ts";

setDefaultTimeout(60_000);

/**
 * Counts, from now on, the rows that are updated or deleted in Sluice's tables, by table: each leaves a dead version behind,
 * which every later search walks over for as long as any transaction of the database is held open. That, not the
 * held transaction, is what makes queues slow; and unlike a rate it can be counted exactly.
 */
async function countDeadVersions(sql: postgres.Sql): Promise<() => Promise<Record<string, number>>> {
  await sql.unsafe(`
    create table public.dead (name text, operation text);
    create function public.note_dead() returns trigger language plpgsql as $$
    begin insert into public.dead values (tg_table_schema || '.' || tg_table_name, tg_op); return null; end $$;
    do $$ declare t regclass; begin
      for t in select c.oid from pg_class c where c.relkind = 'r' and c.relnamespace in ('sluice'::regnamespace, 'sluice_log'::regnamespace) loop
        execute format('create trigger note_dead after update or delete on %s for each row execute function public.note_dead()', t);
      end loop;
    end $$`);
  return async () => {
    const rows = await sql<
      { name: string; count: number }[]
    >`select name, count(*)::integer from public.dead group by name`;
    return Object.fromEntries(rows.map(({ name, count }) => [name, count]));
  };
}

/** Invariant 23: the tables of appending, of which no row may ever be updated. */
function updatedByAppends(dead: Readonly<Record<string, number>>): string[] {
  const mayChange = ["sluice.position", "sluice.member", "sluice.duty", "sluice.subscription"];
  return Object.entries(dead).flatMap(([name, count]) =>
    mayChange.includes(name) ? [] : [`${name}: ${count} rows were updated or deleted`],
  );
}

test("[I23][N3] with transactions held open here and elsewhere no row of the append path is updated, and positions rarely", async () => {
  await using rig = await openRig();
  const { topic, entry } = await rig.topic("letters", 2);
  const deadVersions = await countDeadVersions(rig.sql);
  const holder = await rig.sql.reserve();
  await holder`begin`;
  await holder`select pg_current_xact_id(), count(*) from sluice.topic`;
  const elsewhere = new URL(rig.url);
  elsewhere.pathname = "/postgres";
  const other = postgres(elsewhere.href, { max: 1 });
  const holdOther = await other.reserve();
  await holdOther`begin`;
  await holdOther`select pg_current_xact_id()`;

  const history = new History();
  const startedAt = performance.now();
  const reader = recording(topic, history, { group: "readers" });
  await rig.worker({ name: "reader", entry, ...reader });
  const producer = await rig.producer();
  await Promise.all(
    [0, 1].map((partition) =>
      sendMany(producer, topic, history, { sender: `s${partition}`, count: 400, partition, inFlight: 4 }),
    ),
  );
  await eventually("the group is at the end", async () => (await lagOf(rig.sql, "readers")) === 0);
  const elapsedMs = performance.now() - startedAt;

  const dead = await deadVersions();
  expect(history.sends).toHaveLength(800);
  expect(updatedByAppends(dead)).toEqual([]);
  // One takeover and one write per commit interval, for each of two positions; never one per message.
  expect(dead["sluice.position"]).toBeGreaterThan(0);
  expect(dead["sluice.position"]).toBeLessThanOrEqual(
    2 * (2 + Math.ceil(elapsedMs / reader.consumer.commitIntervalMs)),
  );
  // A server process reports what it counted at the latest when it ends.
  await killBackends(rig.sql, "producer");
  const [statistics] = await eventually("the server's own count has arrived", async () => {
    const rows = await rig.sql<{ inserted: number; updated: number; dead: number }[]>`
      select n_tup_ins::integer as inserted, (n_tup_upd + n_tup_del)::integer as updated, n_dead_tup::integer as dead
      from pg_stat_user_tables where schemaname = 'sluice_log' and relname = 'topic_1_segment_0' and n_tup_ins > 0`;
    return rows.length > 0 && rows;
  });
  expect({ ...statistics, inserted: 0 }).toEqual({ inserted: 0, updated: 0, dead: 0 });

  await holder`rollback`;
  holder.release();
  await holdOther`rollback`;
  holdOther.release();
  await other.end();
});

test("[I23] the check sees an append that keeps a counter row", async () => {
  await using rig = await openRig();
  const { entry } = await rig.topic("letters", 1);
  await rig.sql.unsafe("create table sluice.counter as select 0::bigint as next");
  await plant(rig.sql, `sluice_log.append_${entry.number}`, [
    "if v_founds is not null then",
    "update sluice.counter set next = next + 1;\n  if v_founds is not null then",
  ]);
  const deadVersions = await countDeadVersions(rig.sql);
  await crowd(rig.sql, entry.number, { partitions: 1, lanes: 2, each: 5 });
  expect(updatedByAppends(await deadVersions())).toEqual(["sluice.counter: 10 rows were updated or deleted"]);
});
