import type { Database } from "@sluice/app-kit";

/** How far one group is with one user. */
export interface Step {
  readonly group: "email" | "sms" | "voucher";
  /** `absent`: the group has not joined yet. */
  readonly state: "absent" | "waiting" | "retrying" | "dead" | "redriven" | "sent" | "refused";
  /** Milliseconds from the row's write to the end of the step; null while it waits. */
  readonly afterMs: number | null;
  /** Attempts so far; null before the first has failed. */
  readonly attempt: number | null;
  /** Whether it was a dead letter before it was sent. */
  readonly wasRedriven: boolean;
  /** What stands in the way, or the voucher's code. */
  readonly detail: string | null;
}

/** One sign-up and its steps, for the page. */
export interface RecentSignup {
  readonly id: string;
  readonly name: string;
  readonly email: string;
  readonly createdAt: string;
  readonly steps: readonly Step[];
}

/** The newest sign-ups, newest first; at most `most`, default 8. Everything about them is in tables and views. */
export async function recentSignups({ sql }: Database, most = 8): Promise<RecentSignup[]> {
  const rows = await sql<{ id: string; name: string; email: string; created_at: string; steps: Step[] }[]>`
    with newest as materialized (
      select id, name, email, created_at from signup.users where way = 'queued' order by created_at desc limit ${most}),
    joined as (select "group" from sluice.groups where topic = 'signups'),
    done as (
      select d.user_id, d.channel as "group", d.state, d.settled_at, d.attempt, d.redriven, d.detail from signup.deliveries d
        where d.user_id in (select id from newest)
      union all
      select v.user_id, 'voucher', 'sent', v.given_at, null, false, v.code from signup.vouchers v where v.user_id in (select id from newest)),
    under_way as (
      select key, "group", 'retrying' as state, attempt, error from sluice.retries where topic = 'signups'
      union all
      select key, "group", 'dead', attempts, error from sluice.dead_letters where topic = 'signups'
      union all
      select key, "group", 'redriven', null, null from sluice.redriven_messages where topic = 'signups')
    select u.id, u.name, u.email, u.created_at, json_agg(json_build_object(
        'group', g.name,
        'state', coalesce(d.state, w.state, case when exists (select from joined j where j."group" = g.name) then 'waiting' else 'absent' end),
        'afterMs', greatest(0, round(extract(epoch from d.settled_at - u.created_at) * 1000)),
        'attempt', coalesce(d.attempt, w.attempt),
        'wasRedriven', coalesce(d.redriven, false),
        'detail', coalesce(d.detail, w.error)) order by g.name) as steps
    from newest u cross join (values ('email'), ('sms'), ('voucher')) g(name)
    left join done d on d.user_id = u.id and d."group" = g.name
    left join lateral (select * from under_way w where w.key = u.id::text and w."group" = g.name limit 1) w on true
    group by u.id, u.name, u.email, u.created_at order by u.created_at desc`;
  return rows.map(({ created_at, ...row }) => ({ ...row, createdAt: new Date(created_at).toISOString() }));
}
