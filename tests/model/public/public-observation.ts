import type postgres from "postgres";
import type { RunTopics } from "./workload.ts";

/** What is still to be done. */
export interface Left {
  readonly groups: number;
  readonly lag: number;
  readonly retries: number;
  readonly sharedRetries: number;
  readonly redriven: number;
  readonly outbox: number;
  readonly delayed: number;
}

/** Asks the public views what is left to do for these groups; of what was sent for much later nothing. */
export async function look(sql: postgres.Sql, topics: RunTopics, groups: readonly string[]): Promise<Left> {
  const [{ name: tasks }, { name: onward }] = [topics.tasks, topics.onward];
  const [row] = await sql<Left[]>`
    select
      (select count(distinct "group") from sluice.lag where topic = ${tasks} and "group" = any(${groups as string[]}))::int as groups,
      (select coalesce(sum(lag), 0) from sluice.lag where topic = ${tasks} and "group" = any(${groups as string[]}))::int as lag,
      (select count(*) from sluice.retries where topic = ${tasks} and "group" = any(${groups as string[]}))::int as retries,
      (select count(*) from sluice.shared_retries where topic = ${tasks} and "group" = any(${groups as string[]}))::int as "sharedRetries",
      (select count(*) from sluice.redriven_messages where topic = ${tasks} and "group" = any(${groups as string[]}))::int as redriven,
      (select count(*) from sluice.outbox join sluice.topic t using (topic) where t.name in (${tasks}, ${onward}))::int as outbox,
      (select count(*) from sluice.delayed_messages
        where topic = ${tasks} and due < clock_timestamp() + interval '1 minute')::int as delayed`;
  if (row === undefined) throw new Error("the database gave no answer");
  return row;
}

export function isSettled({ groups, ...left }: Left, expectedGroups: number): boolean {
  return groups === expectedGroups && Object.values(left).every((count) => count === 0);
}

/** A message in the log. */
export interface LogRow {
  readonly partition: number;
  readonly offset: number;
  readonly n: number;
  readonly key: string | null;
}

/** A dead letter of the run. */
export interface LetterRow {
  readonly group: string;
  readonly n: number;
  readonly reason: string;
  readonly attempts: number;
  readonly redrives: number;
}

/** What there is to see of a run, in the order in which it came about. */
export interface Seen {
  readonly log: readonly LogRow[];
  readonly onward: readonly number[];
  readonly letters: readonly LetterRow[];
  readonly effects: readonly { readonly group: string; readonly n: number }[];
  readonly business: readonly number[];
}

export async function see(sql: postgres.Sql, run: string, { tasks, onward }: RunTopics): Promise<Seen> {
  const [row] = await sql.unsafe<{ seen: Seen }[]>(`
    select json_build_object(
      'log', (select coalesce(json_agg(json_build_object('partition', partition, 'offset', "offset", 'n', (value->>'n')::int, 'key', key)
        order by partition, "offset"), '[]') from topics.${tasks.name}),
      'onward', (select coalesce(json_agg((value->>'n')::int), '[]') from topics.${onward.name}),
      'letters', (select coalesce(json_agg(json_build_object('group', "group", 'n', (value->>'n')::int, 'reason', reason, 'attempts', attempts,
        'redrives', redrives)), '[]') from sluice.dead_letters where topic = '${tasks.name}'),
      'effects', (select coalesce(json_agg(json_build_object('group', "group", 'n', n) order by effect), '[]')
        from public.effect where run = '${run}'),
      'business', (select coalesce(json_agg(n order by n), '[]') from public.business where run = '${run}')) as seen`);
  if (row === undefined) throw new Error("the database gave no answer");
  return row.seen;
}
