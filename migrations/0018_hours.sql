-- breaking: no
-- Hours by which groups work, pauses of members, and what was stored up let go at a rate.
--
-- Members compute by themselves which window is in force, from the database's clock, and write it down here for people; nothing
-- reads it to decide anything.
--
-- SQLSTATEs: SL034 there is no such member.

-- Rate limits that change ---------------------------------------------------------------------------------------------

alter table sluice.pace add column since timestamptz not null default '1970-01-01T00:00:00Z';
comment on column sluice.pace.since is 'Since when the rate is in force under which it was reserved last: what is reserved under a newer one comes before what an older one had reserved.';

-- As the function before it, for a rate that is in force since p_since. The first to reserve under a newer one takes back what was
-- reserved under the older, except for the time up to the next message: who had it reserves anew.
-- Locks: the row of the limit, until the caller commits, which it does at once.
create function sluice.reserve_pace(
  p_group integer, p_topic integer, p_key text, p_count integer, p_interval_ms double precision, p_since timestamptz
) returns double precision language plpgsql as $$
declare
  v_now timestamptz := clock_timestamp();
  v_one interval := make_interval(secs => p_interval_ms / 1000);
  v_length interval := make_interval(secs => p_count * p_interval_ms / 1000);
  v_end timestamptz;
begin
  insert into sluice.pace as p ("group", topic, key, next_at, since) values (p_group, p_topic, p_key, v_now + v_length, p_since)
  on conflict ("group", topic, key) do update
  set next_at = greatest(v_now, case when excluded.since > p.since then least(p.next_at, v_now + v_one) else p.next_at end) + v_length,
    since = greatest(p.since, excluded.since)
  returning next_at into v_end;
  return extract(epoch from v_end - v_length - clock_timestamp()) * 1000;
end $$;
comment on function sluice.reserve_pace(integer, integer, text, integer, double precision, timestamptz) is 'Internal: reserves messages of a group whose rate limit changes.';

-- Hours ---------------------------------------------------------------------------------------------------------------

create table sluice.hours_in_force (
  member integer not null,
  "group" integer not null,
  topic integer not null,
  "window" text,
  open boolean not null,
  concurrency integer not null,
  rate text,
  since timestamptz,
  until timestamptz,
  constraint hours_in_force_pkey primary key (member, "group", topic),
  constraint hours_in_force_member foreign key (member) references sluice.member (member) on delete cascade,
  constraint hours_in_force_group foreign key ("group") references sluice.consumer_group ("group") on delete cascade,
  constraint hours_in_force_topic foreign key (topic) references sluice.topic (topic) on delete cascade,
  constraint hours_in_force_window_length check (length("window") <= 120),
  constraint hours_in_force_rate_length check (length(rate) <= 120)
) with (fillfactor = 50);
comment on table sluice.hours_in_force is 'What members apply at present of the hours that their consumers declare. See the view sluice.hours.';

create view sluice.hours as
select h.member, m.name, g.name as "group", t.name as topic, h."window", h.open, h.concurrency, h.rate, h.since, h.until
from sluice.hours_in_force h
join sluice.member m using (member)
join sluice.consumer_group g using ("group")
join sluice.topic t using (topic);
comment on view sluice.hours is 'Sluice: which window of its hours each live consumer goes by, and when that changes. One that is not open hands over nothing.';
comment on column sluice.hours."window" is 'The window in force; null: none, and the consumer goes by what it declares for otherwise.';
comment on column sluice.hours.rate is 'The rate limit in force, over all members of the group; null: none.';
comment on column sluice.hours.since is 'When it began; null: it has always been so.';
comment on column sluice.hours.until is 'When another comes into force; null: never.';

-- Pausing members -----------------------------------------------------------------------------------------------------

alter table sluice.member
  add column paused_at timestamptz,
  add column paused_by text,
  add column paused_reason text,
  add constraint member_pause_whole check ((paused_at is null) = (paused_by is null)),
  add constraint member_paused_by_length check (length(paused_by) <= 400),
  add constraint member_paused_reason_length check (length(paused_reason) <= 1000);
comment on column sluice.member.paused_at is 'Since when it owns and leases nothing; null when it is not paused.';

-- Tells the members of all groups that a member takes part in to look at each other.
create function sluice.ring_groups_of(p_member integer) returns void language sql
begin atomic
  select pg_notify('sluice', 'group ' || g."group")
  from (select distinct s."group" from sluice.subscription s where s.member = p_member) g;
end;
comment on function sluice.ring_groups_of(integer) is 'Internal: rings for the groups of a member.';

create function sluice.member_name(p_member integer) returns text language plpgsql stable as $$
declare
  v_name text;
begin
  select m.name into v_name from sluice.member m where m.member = p_member;
  if v_name is null then
    raise exception 'sluice: there is no member %; nothing was changed', p_member
      using errcode = 'SL034', hint = 'select member, name from sluice.members lists those there are.';
  end if;
  return v_name;
end $$;
comment on function sluice.member_name(integer) is 'Internal: the name of a member; refuses a number that is none.';

-- Pauses a member: it gives its partitions and leases back and takes no new ones, until it is resumed or ends. Returns whether
-- it was not paused before.
-- Locks: the row of the member.
create function sluice.pause_member(member integer, reason text default null) returns boolean language plpgsql as $$
#variable_conflict use_column
declare
  v_name text := sluice.member_name(pause_member.member);
begin
  update sluice.member m set paused_at = clock_timestamp(), paused_by = sluice.actor(), paused_reason = pause_member.reason
  where m.member = pause_member.member and m.paused_at is null;
  if not found then return false; end if;
  perform sluice.write_audit('pause member', format('member %s', pause_member.member),
    json_build_object('name', v_name, 'reason', pause_member.reason));
  perform sluice.ring_groups_of(pause_member.member);
  return true;
end $$;
comment on function sluice.pause_member(integer, text) is 'Pauses a process that consumes; the others take over: select sluice.pause_member(7, reason => ''why'').';

-- Ends the pause of a member. Returns whether it was paused.
-- Locks: the row of the member.
create function sluice.resume_member(member integer) returns boolean language plpgsql as $$
#variable_conflict use_column
declare
  v_name text := sluice.member_name(resume_member.member);
begin
  update sluice.member m set paused_at = null, paused_by = null, paused_reason = null
  where m.member = resume_member.member and m.paused_at is not null;
  if not found then return false; end if;
  perform sluice.write_audit('resume member', format('member %s', resume_member.member), json_build_object('name', v_name));
  perform sluice.ring_groups_of(resume_member.member);
  return true;
end $$;
comment on function sluice.resume_member(integer) is 'Ends the pause of a member: select sluice.resume_member(7).';

create or replace view sluice.members as
select m.member, m.name, exists (
    select from pg_locks l
    where l.locktype = 'advisory' and l.classid = 1936487685 and l.objid = m.member::oid and l.objsubid = 2 and l.granted
      and l.database = (select oid from pg_database where datname = current_database())
  ) as live,
  array(select g.name || ' ← ' || t.name from sluice.subscription s
    join sluice.consumer_group g using ("group") join sluice.topic t using (topic)
    where s.member = m.member order by 1) as subscriptions,
  (select count(*) from sluice.position p where p.owner = m.member) as partitions,
  m.backend_pid, m.started_at, m.lease_until,
  m.paused_at as paused_since, m.paused_by, m.paused_reason
from sluice.member m;
comment on column sluice.members.paused_since is 'Since when it is paused, and owns and leases nothing; null when it is not.';

-- Letting go at a rate ------------------------------------------------------------------------------------------------

create table sluice.release (
  "group" integer not null,
  topic integer not null,
  messages integer not null,
  per_ms double precision not null,
  ends bigint[] not null,
  released_at timestamptz not null default clock_timestamp(),
  released_by text not null,
  until timestamptz,
  constraint release_pkey primary key ("group", topic),
  constraint release_group foreign key ("group") references sluice.consumer_group ("group") on delete cascade,
  constraint release_topic foreign key (topic) references sluice.topic (topic) on delete cascade,
  constraint release_messages_range check (messages between 1 and 1000000),
  constraint release_per_range check (per_ms between 1 and 86400000),
  constraint release_released_by_length check (length(released_by) <= 400)
);
comment on table sluice.release is 'What had gathered in groups and is let go at a rate. See the view sluice.releases.';
comment on column sluice.release.ends is 'Where each partition ended when it was let go, the first one''s first: it is worked off when every position has passed that.';
comment on column sluice.release.until is 'When the rate ends even if it is not worked off.';

-- How many messages of what had gathered are left; 0 when it is worked off.
create function sluice.release_left(p_group integer, p_topic integer, p_ends bigint[]) returns bigint language sql stable
return (select coalesce(sum(greatest(0, p_ends[p.partition + 1] - p.next_offset)), 0)::bigint
  from sluice.position p where p."group" = p_group and p.topic = p_topic);
comment on function sluice.release_left(integer, integer, bigint[]) is 'Internal: how much of what is let go at a rate is left.';

create view sluice.releases as
select g.name as "group", t.name as topic, r.messages, make_interval(secs => r.per_ms / 1000) as per,
  sluice.release_left(r."group", r.topic, r.ends) as "left", r.released_at, r.released_by, r.until
from sluice.release r
join sluice.consumer_group g using ("group")
join sluice.topic t using (topic)
where (r.until is null or r.until > clock_timestamp()) and sluice.release_left(r."group", r.topic, r.ends) > 0;
comment on view sluice.releases is 'Sluice: groups that are letting go at a rate what had gathered while they were paused.';
comment on column sluice.releases."left" is 'Messages that had gathered when it was let go and are still to be done.';

-- As before; what is being let go at a rate goes at once from now on.
-- Locks: rows of sluice.pause and sluice.release.
create or replace function sluice.resume_group("group" text, topic text default null, partition integer default null) returns integer
language plpgsql as $$
#variable_conflict use_column
declare
  v_group integer := sluice.group_number(resume_group."group");
  v_topic integer := case when resume_group.topic is not null then sluice.topic_number(resume_group.topic) end;
  v_ended integer;
  v_released integer;
begin
  delete from sluice.pause s
  where s."group" = v_group and (v_topic is null or s.topic = v_topic)
    and (resume_group.partition is null or s.partition = resume_group.partition);
  get diagnostics v_ended = row_count;
  delete from sluice.release r
  where r."group" = v_group and (v_topic is null or r.topic = v_topic) and resume_group.partition is null;
  get diagnostics v_released = row_count;
  if v_ended + v_released = 0 then return 0; end if;
  perform sluice.write_audit('resume', format('group %s', resume_group."group"),
    json_build_object('topic', resume_group.topic, 'partition', resume_group.partition, 'ended', v_ended));
  perform pg_notify('sluice', 'group ' || v_group);
  return v_ended;
end $$;

-- As sluice.resume_group, and what has gathered by now goes at a rate over all members, which takes the place of the limits
-- that the consumers declare, until all of it is done, or until a time. Returns how many pauses were ended.
-- Locks: rows of sluice.pause and sluice.release.
create function sluice.release_group(
  "group" text, messages integer, per interval, topic text default null, until timestamptz default null
) returns integer language plpgsql as $$
#variable_conflict use_column
declare
  v_group integer := sluice.group_number(release_group."group");
  v_topic integer := case when release_group.topic is not null then sluice.topic_number(release_group.topic) end;
  v_ended integer;
begin
  if not exists (
    select from sluice.group_topic t where t."group" = v_group and t.mode = 'assigned' and (v_topic is null or t.topic = v_topic)
  ) then
    raise exception 'sluice: group % works on no such topic with owners of partitions (ordered or keyed), so it has no rate; nothing was changed',
      release_group."group" using errcode = 'SL031', hint = 'Without a rate it can be resumed.';
  end if;
  delete from sluice.pause s where s."group" = v_group and (v_topic is null or s.topic = v_topic);
  get diagnostics v_ended = row_count;
  insert into sluice.release as r ("group", topic, messages, per_ms, ends, released_by, until)
  select v_group, t.topic, release_group.messages, extract(epoch from release_group.per) * 1000,
    array(select sluice.end_offset(t.topic, n) from generate_series(0, t.partitions - 1) n order by n), sluice.actor(), release_group.until
  from sluice.group_topic gt join sluice.topic t using (topic)
  where gt."group" = v_group and gt.mode = 'assigned' and (v_topic is null or gt.topic = v_topic)
  on conflict ("group", topic) do update set messages = excluded.messages, per_ms = excluded.per_ms, ends = excluded.ends,
    released_at = excluded.released_at, released_by = excluded.released_by, until = excluded.until;
  perform sluice.write_audit('release', format('group %s', release_group."group"),
    json_build_object('topic', release_group.topic, 'ended', v_ended, 'messages', release_group.messages, 'per', release_group.per,
      'until', release_group.until));
  perform pg_notify('sluice', 'group ' || v_group);
  return v_ended;
end $$;
comment on function sluice.release_group(text, integer, interval, text, timestamptz) is 'Ends the pauses of a group and lets what has gathered go at a rate: select sluice.release_group(''welcome'', messages => 100, per => ''1 second'').';

-- Forgets rates of what is worked off.
-- Locks: the rows.
create function sluice.forget_releases() returns bigint language sql
begin atomic
  with gone as (
    delete from sluice.release r
    where r.until <= clock_timestamp() or sluice.release_left(r."group", r.topic, r.ends) = 0 returning 1)
  select count(*) from gone;
end;
comment on function sluice.forget_releases() is 'Internal: forgets rates of what is worked off.';
