import {
  type EffectOperation,
  type HistoryWriter,
  type Operation,
  type PositionOperation,
  runsOf,
  steadyNow,
} from "@sluice/testkit/checker";
import type postgres from "postgres";
import type { Sluice } from "sluice";
import { bulk, exact, globalPartition, groups, isTransactionSender, partitions, prefetch } from "./workload.ts";

/**
 * Lets the database write down, in the very transactions, who had a position when it was taken or written. A writer is known by
 * the name of its connection and an owner by the name of its member, so nothing of this believes an epoch.
 */
export async function observe(sql: postgres.Sql): Promise<void> {
  await sql.unsafe(`
    create schema chaos;
    create table chaos.member (member integer primary key, name text not null);
    create table chaos.event (
      event bigint generated always as identity primary key, kind text not null, position integer not null, epoch bigint not null,
      owner text not null, writer text not null, from_offset bigint not null, to_offset bigint not null,
      done text not null, at timestamptz not null default clock_timestamp());
    create table chaos.intent (sender integer not null, number integer not null, primary key (sender, number));
    create table chaos.effect ("group" text not null, partition integer not null, "offset" bigint not null, process text not null);
    create table chaos.account (account integer primary key, balance bigint not null);
    insert into chaos.account select account, 0 from generate_series(0, 31) account;

    create function chaos.note_member() returns trigger language plpgsql as $$ begin
      insert into chaos.member values (new.member, split_part(new.name, ' ', 1)) on conflict do nothing;
      return null;
    end $$;
    create trigger note_member after insert on sluice.member for each row execute function chaos.note_member();

    create function chaos.note_position() returns trigger language plpgsql as $$ begin
      insert into chaos.event (kind, position, epoch, owner, writer, from_offset, to_offset, done)
      values (case when new.epoch <> old.epoch then 'take' else 'commit' end, new.position, new.epoch,
        coalesce((select name from chaos.member where member = new.owner), ''),
        split_part(current_setting('application_name'), ' ', 1), old.next_offset, new.next_offset, new.done_above::text);
      return null;
    end $$;
    create trigger note_position after update on sluice.position for each row
      when (new.epoch <> old.epoch or new.next_offset <> old.next_offset) execute function chaos.note_position();

    -- At the very end of the handler's transaction: whoever has the position then is who may commit.
    create function chaos.note_mark() returns trigger language plpgsql as $$ begin
      insert into chaos.event (kind, position, epoch, owner, writer, from_offset, to_offset, done)
      select 'mark', p.position, p.epoch, m.name, split_part(current_setting('application_name'), ' ', 1), new."offset", new."offset", '{}'
      from sluice.position p join chaos.member m on m.member = p.owner
      where p.position = new.position and m.name <> split_part(current_setting('application_name'), ' ', 1);
      return null;
    end $$;
    create constraint trigger note_mark after insert on sluice.done deferrable initially deferred for each row
      execute function chaos.note_mark();`);
}

/** The declarations with which a history begins. */
export function declarations(): Operation[] {
  return groups.map(({ group, topic, mode, isTransactional }) => ({
    op: "group",
    process: "controller",
    time: 0,
    group,
    mode,
    isTransactional,
    partitions: Array.from({ length: partitions }, (_, partition) => globalPartition(topic, partition)),
    inFlight: prefetch * 2,
  }));
}

/** Writes to the history what the database knows at the end: the log, positions, effects, and what became of transactions. */
export async function recordEnd(sql: postgres.Sql, sluice: Sluice, history: HistoryWriter): Promise<void> {
  const common = () => ({ process: "controller", time: steadyNow() });
  const unexplained = new Map<string, readonly [sender: number, number: number]>();
  for (const topic of [bulk, exact]) {
    for (let partition = 0; partition < partitions; partition++) {
      const global = globalPartition(topic.name, partition);
      for await (const records of sluice.read(topic, { partition })) {
        const runs = runsOf(records.map(({ offset, value }) => [global, offset, value.s, value.n]));
        await history.write({ ...common(), op: "read", final: true, runs });
        for (const { value } of records)
          if (isTransactionSender(value.s)) unexplained.set(`${value.s}:${value.n}`, [value.s, value.n]);
      }
    }
  }
  const ends = await sql<{ topic: string; partition: number; start: number; end: number }[]>`
    select topic, partition, start_offset::float8 as start, end_offset::float8 as end from sluice.partitions`;
  for (const { topic, partition, start, end } of ends)
    await history.write({ ...common(), op: "ends", partition: globalPartition(topic, partition), start, end });
  await recordEffects(sql, history, common);
  const intents = sql<{ sender: number; number: number }[]>`select sender, number from chaos.intent order by 1, 2`;
  for await (const rows of intents.cursor(5_000)) {
    const runs = runsOf(rows.map(({ sender, number }) => [-1, -1, sender, number]));
    await history.write({ ...common(), op: "send", type: "ok", runs });
    for (const { sender, number } of rows) unexplained.delete(`${sender}:${number}`);
  }
  // In the log without the row of its transaction: that was rolled back (invariant 18).
  for (const [sender, number] of unexplained.values())
    await history.write({ ...common(), op: "send", type: "fail", runs: [[-1, -1, sender, number, 1]] });
}

async function recordEffects(
  sql: postgres.Sql,
  history: HistoryWriter,
  common: () => { process: string; time: number },
): Promise<void> {
  let run: EffectOperation | undefined;
  const effects = sql<{ group: string; partition: number; offset: number; times: number }[]>`
    select "group", partition, "offset"::float8, count(*)::integer as times from chaos.effect group by 1, 2, 3 order by 1, 2, 3`;
  for await (const rows of effects.cursor(5_000)) {
    for (const { group, partition, offset, times } of rows) {
      const goesOn =
        run?.group === group && run.partition === partition && run.times === times && run.from + run.count === offset;
      if (run !== undefined && goesOn) run = { ...run, count: run.count + 1 };
      else {
        if (run !== undefined) await history.write(run);
        run = { ...common(), op: "effect", group, partition, from: offset, count: 1, times };
      }
    }
  }
  if (run !== undefined) await history.write(run);
  const retries = await sql<{ group: string; topic: string; partition: number; offset: number }[]>`
    select "group", topic, partition, "offset"::float8 as offset from sluice.retries`;
  for (const { group, topic, partition, offset } of retries)
    await history.write({ ...common(), op: "waiting", group, partition: globalPartition(topic, partition), offset });
}

/** Writes what the database has noted of positions, in its order, to a history of its own. */
export async function recordPositions(sql: postgres.Sql, history: HistoryWriter): Promise<void> {
  interface Row {
    readonly kind: "take" | "commit" | "mark";
    readonly group: string;
    readonly topic: string;
    readonly partition: number;
    readonly epoch: number;
    readonly owner: string;
    readonly writer: string;
    readonly from: number;
    readonly to: number;
    readonly done: string;
    readonly time: number;
  }
  const events = sql<Row[]>`
    select e.kind, g.name as "group", t.name as topic, p.partition, e.epoch::float8, e.owner, e.writer,
      e.from_offset::float8 as from, e.to_offset::float8 as to, e.done, extract(epoch from e.at)::float8 * 1000 as time
    from chaos.event e join sluice.position p using (position) join sluice.consumer_group g on g."group" = p."group"
      join sluice.topic t on t.topic = p.topic
    order by e.event`;
  let last = 0;
  for await (const rows of events.cursor(5_000)) {
    for (const { kind, group, topic, partition, epoch, owner, writer, from, to, done, time } of rows) {
      // Rows are in the order in which they were written; their times may cross by a little.
      last = Math.max(last, time);
      const place = { group, partition: globalPartition(topic, partition), epoch, owner, from, to };
      const operation: PositionOperation = {
        op: "position",
        process: writer,
        time: last,
        kind,
        ...place,
        done: kind === "take" ? rangesOf(done) : [],
      };
      await history.write(operation);
    }
  }
}

/** `{[1,3),[5,6)}` */
function rangesOf(text: string): [number, number][] {
  return [...text.matchAll(/\[(\d+),(\d+)\)/g)].map(([, from, to]) => [Number(from), Number(to)]);
}
