import { expect, setDefaultTimeout, test } from "bun:test";
import { DeadLetters } from "@sluice/broker";
import { consumer, fixed } from "@sluice/contract";
import { eventually, History } from "@sluice/testkit";
import { sql as text } from "drizzle-orm";
import type postgres from "postgres";
import { lagOf } from "./recording-groups.ts";
import { openRig, type Rig, sendMany } from "./rig.ts";

setDefaultTimeout(60_000);

/**
 * Invariant 15 for a group that is at the end of its topic: each message of the log is done (it has an effect), dead, waiting
 * to be handled once more, or was given up by somebody, which the audit says; exactly one of them.
 */
async function unaccounted(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ sentence: string }[]>`
    with states as (
      select partition, "offset", 'done' as state from public.effect
      union all select partition, "offset", 'dead' from sluice.dead_letters where "group" = 'writers'
      union all select partition, "offset", 'waiting' from sluice.redriven_messages where "group" = 'writers'
      union all select (l ->> 'partition')::integer, (l ->> 'offset')::bigint, 'given up'
        from sluice.audits a, json_array_elements(a.details -> 'letters') l
        where a.act in ('discard', 'purge') and a.subject = 'group writers, topic letters')
    select format('%s/%s is %s', m.partition, m."offset", coalesce(string_agg(s.state, ' and ' order by s.state), 'nowhere')) as sentence
    from topics.letters m left join states s using (partition, "offset")
    group by m.partition, m."offset" having count(s.state) <> 1 order by m.partition, m."offset"`;
  return rows.map(({ sentence }) => sentence);
}

/** Sends fifty messages of which every fifth is refused for ever, and handles them to the end. */
async function handleAll(rig: Rig): Promise<{ letters: DeadLetters; state: { refuses: boolean } }> {
  const { topic, entry } = await rig.topic("letters", 2);
  await rig.sql`create table public.effect (partition integer not null, "offset" bigint not null)`;
  const state = { refuses: true };
  const writing = consumer(topic, {
    group: "writers",
    mode: "keyed",
    commitInterval: 20,
    retry: { attempts: 2, backoff: fixed("1ms") },
    handler: async (context) => {
      const tx = await context.tx();
      await tx.execute(text`insert into public.effect values (${context.partition}, ${context.offset})`);
      if (state.refuses && context.offset % 5 === 0) throw new Error("refused");
    },
  });
  await rig.worker({ name: "writer", entry, consumer: writing });
  const producer = await rig.producer();
  for (const partition of [0, 1])
    await sendMany(producer, topic, new History(), { sender: `s${partition}`, count: 25, partition, inFlight: 5 });
  await eventually("the group is at the end", async () => (await lagOf(rig.sql, "writers")) === 0);
  return { letters: new DeadLetters(rig.pool()), state };
}

test("[I15][R5] sent is done, dead, waiting or given up: after failures, a redrive, and a discard", async () => {
  await using rig = await openRig();
  const { letters, state } = await handleAll(rig);
  expect(await unaccounted(rig.sql)).toEqual([]);
  const dead = (await letters.list()).letters.map(({ number }) => number);
  expect(dead).toHaveLength(10);
  state.refuses = false;
  await letters.redrive(dead.slice(0, 4));
  expect(await unaccounted(rig.sql)).toEqual([]);
  await letters.discard(dead.slice(4, 7));
  await eventually("nothing waits", async () => {
    const [row] = await rig.sql`select count(*)::integer as waiting from sluice.redriven`;
    return row?.["waiting"] === 0;
  });
  expect(await unaccounted(rig.sql)).toEqual([]);
  const [row] = await rig.sql`select (select count(*) from public.effect)::integer as done,
    (select count(*) from sluice.dead_letters)::integer as dead, (select count(*) from topics.letters)::integer as sent`;
  expect(row).toEqual({ done: 44, dead: 3, sent: 50 });
});

test("[I15] the check sees a letter that is lost, and one that was handled after all", async () => {
  await using rig = await openRig();
  await rig.sql.unsafe(`
    create function public.lose() returns trigger language plpgsql as $$ begin return null; end $$;
    create function public.is_first(partition integer, "offset" bigint) returns boolean language sql return partition = 0 and "offset" = 5`);
  await rig.sql.unsafe(
    `create trigger lose before insert on sluice.dead_letter for each row when (public.is_first(new.partition, new."offset"))
      execute function public.lose()`,
  );
  await handleAll(rig);
  await rig.sql`insert into public.effect values (1, 10)`;
  expect(await unaccounted(rig.sql)).toEqual(["0/5 is nowhere", "1/10 is dead and done"]);
});
