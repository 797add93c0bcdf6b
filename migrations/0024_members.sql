-- breaking: no
-- Who owns what, and why: ways of assigning partitions, members that keep their partitions over a restart, and a history of moves.

-- Ways of assigning ---------------------------------------------------------------------------------------------------

alter table sluice.subscription
  add column assignment text not null default 'sticky',
  add column carried boolean not null default false,
  add constraint subscription_assignment_known check (assignment in ('sticky', 'range', 'round-robin'));
comment on column sluice.subscription.assignment is 'How the member wants the group''s partitions assigned. What the oldest member says counts.';
comment on column sluice.subscription.carried is 'Whether it is of the process that was this static member before, and the present one has not said so itself yet.';

-- Static members ------------------------------------------------------------------------------------------------------

alter table sluice.member
  add column static_id text,
  add column process text,
  add constraint member_static_id_unique unique (static_id),
  add constraint member_static_id_length check (length(static_id) between 1 and 60),
  add constraint member_process_length check (length(process) between 1 and 60),
  add constraint member_static_whole check ((static_id is null) = (process is null));
comment on column sluice.member.static_id is 'The name under which it keeps its partitions over a restart, for as long as its lease; null: it keeps none.';
comment on column sluice.member.process is 'Which process is the static member: another that claims the name fences this one.';

-- Whether a member counts though its session may be gone: a static one does, for the rest of its lease.
create function sluice.is_awaited(p_static_id text, p_lease_until timestamptz) returns boolean language sql stable
return p_static_id is not null and p_lease_until > clock_timestamp();
comment on function sluice.is_awaited(text, timestamptz) is 'Internal: whether a static member''s partitions wait for it.';

-- Makes a process the static member of this name, with what the one before it had: its subscriptions and its partitions. One that
-- still runs is fenced, as in KIP-345: its session is ended, and it hears so when it claims the name again (p_again).
-- Returns the member's number; refuses with SL035 one that was fenced.
-- Locks: the row of the member before, then the rows of its positions, ascending.
create function sluice.claim_member(
  p_static_id text, p_process text, p_name text, p_backend_pid integer, p_lease_ms bigint, p_again boolean, p_leased boolean
) returns integer language plpgsql as $$
declare
  v_before record;
  v_member integer;
begin
  loop
    select m.member, m.process, m.name into v_before from sluice.member m where m.static_id = p_static_id for update;
    if p_again and v_before.process <> p_process then
      raise exception 'sluice: % runs as member % by now, so this process is fenced and consumes no more', v_before.name,
        quote_literal(p_static_id)
        using errcode = 'SL035', hint = 'Two processes must not have the same member name. Give each its own.';
    end if;
    begin
      update sluice.member m set static_id = null, process = null where m.member = v_before.member;
      insert into sluice.member (name, backend_pid, lease_until, leased, static_id, process)
      values (p_name, p_backend_pid, clock_timestamp() + make_interval(secs => p_lease_ms::double precision / 1000), p_leased, p_static_id, p_process)
      returning member into v_member;
      exit;
    exception when unique_violation then
      -- Another process was quicker, for the first time: now it is the one before.
      null;
    end;
  end loop;
  if v_before.member is null then return v_member; end if;
  update sluice.subscription s set member = v_member, carried = true where s.member = v_before.member;
  perform from sluice.position p where p.owner = v_before.member order by p.position for update;
  update sluice.position p set owner = v_member where p.owner = v_before.member;
  delete from sluice.member m where m.member = v_before.member;
  begin
    perform pg_terminate_backend(l.pid) from pg_locks l
    where l.locktype = 'advisory' and l.classid = 1936487685 and l.objid = v_before.member::oid and l.objsubid = 2 and l.granted
      and l.database = (select oid from pg_database where datname = current_database());
  exception when insufficient_privilege then
    -- It is another role's. Then it finds with its next heartbeat that it is no member any more.
    raise debug 'sluice: the session of member % is not this role''s to end', v_before.member;
  end;
  return v_member;
end $$;
comment on function sluice.claim_member is 'Internal: makes a process the static member of a name.';

-- Moves ---------------------------------------------------------------------------------------------------------------

-- (No foreign keys: history outlives what it is about, and their checks would lock the rows of positions.)
create table sluice.move (
  move bigint generated always as identity,
  position integer,
  duty integer,
  epoch bigint not null,
  member integer,
  from_name text,
  to_name text not null,
  why text not null,
  at timestamptz not null default clock_timestamp(),
  constraint move_pkey primary key (move),
  constraint move_of_one check ((position is null) <> (duty is null)),
  constraint move_name_length check (length(to_name) <= 200 and length(from_name) <= 200),
  constraint move_why_known check (why in ('start', 'leave', 'rebalance', 'pause', 'reset', 'restart', 'reconnect', 'crash', 'freeze'))
);
create index move_position on sluice.move (position, move) where position is not null;
create index move_duty on sluice.move (duty, move) where duty is not null;
comment on table sluice.move is 'Who took a position or a duty over, from whom and why; the latest of each, and others for 30 days, at most 100,000. See the views sluice.moves and sluice.leader_moves.';
comment on column sluice.move.member is 'The number of who took a position.';

alter table sluice.position
  add column left_why text,
  add constraint position_left_why_known check (left_why in ('leave', 'rebalance', 'pause', 'reset'));
comment on column sluice.position.left_why is 'Why its last owner gave it back; counts while there is none.';

alter table sluice.duty add column left_epoch bigint;
comment on column sluice.duty.left_epoch is 'The last epoch whose owner let the duty go by itself.';

-- Takes the fence of a position for a takeover, which waits for what is in flight. One who holds it and says nothing is frozen, or its network is
-- gone, between its mark and its commit: after five seconds its session is ended, so that nobody waits for ever. What it did is rolled back.
-- Locks: the fence of the position, exclusive.
create function sluice.fence_position(p_position integer) returns void language plpgsql as $$
declare
  v_timeout text := current_setting('lock_timeout');
begin
  if pg_try_advisory_xact_lock(1936487683, p_position) then return; end if;
  perform set_config('lock_timeout', '1s', true);
  loop
    begin
      perform pg_advisory_xact_lock(1936487683, p_position);
      perform set_config('lock_timeout', v_timeout, true);
      return;
    exception when lock_not_available then
      -- What others do is read once in a transaction, unless asked for anew.
      perform pg_stat_clear_snapshot();
      perform pg_terminate_backend(a.pid) from pg_stat_activity a join pg_locks l using (pid)
      where l.locktype = 'advisory' and l.classid = 1936487683 and l.objid = p_position::oid and l.objsubid = 2 and l.granted
        and l.database = (select oid from pg_database where datname = current_database())
        and a.state like 'idle in transaction%' and a.state_change < clock_timestamp() - interval '5 seconds';
    end;
  end loop;
end $$;
comment on function sluice.fence_position(integer) is 'Internal: waits for what is in flight in a position, and ends who holds it up.';

-- Takes a position over as sluice.take_over does, and notes who had it and why that one has it no more.
-- Locks: the fence of the position, exclusive.
create function sluice.own_position(p_position integer, p_member integer, p_reserve integer)
returns table (epoch bigint, next_offset bigint, done_above text, suspect_to bigint, crashes integer) language plpgsql as $$
declare
  v record;
  v_last record;
  v_name text;
begin
  perform sluice.fence_position(p_position);
  select p.epoch, p.owner, p.left_why, m.name, m.lease_until into v
  from sluice.position p left join sluice.member m on m.member = p.owner where p.position = p_position;
  select l.member, l.to_name into v_last from sluice.move l where l.position = p_position order by l.move desc limit 1;
  v_name := coalesce((select m.name from sluice.member m where m.member = p_member), format('member %s', p_member));
  insert into sluice.move (position, epoch, member, from_name, to_name, why)
  values (p_position, v.epoch + 1, p_member, coalesce(v_last.to_name, v.name), v_name, case
    when v.owner is null then coalesce(v.left_why, 'start')
    when v.owner = p_member then case when v_last.member = p_member then 'reset' else 'restart' end
    when coalesce(v_last.to_name, v.name) = v_name then 'reconnect'
    when v.lease_until < clock_timestamp() then 'freeze'
    else 'crash' end);
  return query select t.epoch, t.next_offset, t.done_above, t.suspect_to, t.crashes from sluice.take_over(p_position, p_member, p_reserve) t;
end $$;
comment on function sluice.own_position(integer, integer, integer) is 'Takes a position over under a new epoch, and notes the move.';

-- As before, and the move is noted; who holds the fence up is not waited for beyond five seconds.
-- Locks: the fence of the position, exclusive.
create or replace function sluice.take_free(p_position integer, p_member integer, p_reserve integer)
returns table (epoch bigint, next_offset bigint, done_above text, suspect_to bigint, crashes integer) language plpgsql as $$
begin
  if sluice.is_anothers(p_position, p_member) then return; end if;
  perform sluice.fence_position(p_position);
  if sluice.is_anothers(p_position, p_member) then return; end if;
  return query select t.epoch, t.next_offset, t.done_above, t.suspect_to, t.crashes from sluice.own_position(p_position, p_member, p_reserve) t;
end $$;

-- Gives a position back, and why. p_stays: a static member that comes back has it still. The caller lets go of the session lock afterwards.
-- Locks: the row.
create function sluice.leave_position(p_position integer, p_epoch bigint, p_why text, p_stays boolean) returns void language sql
begin atomic
  update sluice.position set owner = case when p_stays then owner end, handed_to = 0, left_why = p_why
  where position = p_position and epoch = p_epoch;
end;
comment on function sluice.leave_position(integer, bigint, text, boolean) is 'Gives a position back.';

-- Takes a duty as sluice.take_duty does, and notes who had it and why that one has it no more.
-- Locks: the fence of the duty, exclusive.
create function sluice.lead_duty(p_duty integer, p_owner text) returns bigint language plpgsql as $$
declare
  v record;
  v_epoch bigint;
begin
  perform pg_advisory_xact_lock(1936487687, p_duty);
  select d.epoch, d.owner, d.left_epoch,
    (select max(m.lease_until) from sluice.member m where m.name = d.owner) as lease_until
  into v from sluice.duty d where d.duty = p_duty;
  v_epoch := sluice.take_duty(p_duty, p_owner);
  insert into sluice.move (duty, epoch, from_name, to_name, why)
  values (p_duty, v_epoch, left(v.owner, 200), left(p_owner, 200), case
    when v.owner is null then 'start'
    when v.left_epoch = v.epoch then 'leave'
    when v.owner = p_owner then 'reconnect'
    when v.lease_until < clock_timestamp() then 'freeze'
    when v.lease_until is null then coalesce(
      -- It is listed no more, because its partitions have gone to others already: as what they went.
      (select l.why from sluice.move l where l.from_name = v.owner and l.why in ('crash', 'freeze') order by l.move desc limit 1), 'crash')
    else 'crash' end);
  return v_epoch;
end $$;
comment on function sluice.lead_duty(integer, text) is 'Takes a duty under a new epoch, and notes the move.';

-- As before, and the move is noted.
-- Locks: the fence of the duty, exclusive.
create or replace function sluice.take_free_duty(p_duty integer, p_owner text, p_member integer) returns bigint language plpgsql as $$
declare
  v_epoch bigint;
begin
  if sluice.is_anothers_duty(p_duty, p_member) then return null; end if;
  perform pg_advisory_xact_lock(1936487687, p_duty);
  if sluice.is_anothers_duty(p_duty, p_member) then return null; end if;
  v_epoch := sluice.lead_duty(p_duty, p_owner);
  update sluice.duty set member = p_member where duty = p_duty;
  return v_epoch;
end $$;

-- Lets a duty go.
-- Locks: the row.
create function sluice.leave_duty(p_duty integer, p_epoch bigint) returns void language sql
begin atomic
  update sluice.duty set left_epoch = epoch where duty = p_duty and epoch = p_epoch;
end;
comment on function sluice.leave_duty(integer, bigint) is 'Notes that an owner lets its duty go by itself.';

-- Forgets moves that are old or too many, never the latest of a position or a duty; p_limit at most. Returns how many.
-- Locks: the rows.
create function sluice.forget_moves(p_limit integer, p_keep integer default 100000) returns integer language plpgsql as $$
declare
  v_gone integer;
begin
  delete from sluice.move where move in (
    select l.move from sluice.move l
    where (l.at < clock_timestamp() - interval '30 days' or l.move <= (select max(move) from sluice.move) - p_keep)
      and exists (select from sluice.move n where (n.position = l.position or n.duty = l.duty) and n.move > l.move)
    order by l.move limit p_limit for update skip locked);
  get diagnostics v_gone = row_count;
  return v_gone;
end $$;
comment on function sluice.forget_moves(integer, integer) is 'Internal: forgets old moves.';

-- Views ---------------------------------------------------------------------------------------------------------------

-- How the partitions of a group are assigned: as the oldest member that counts wants it; null when there is none.
create function sluice.assignment_in_force(p_group integer) returns text language sql stable
return (
  select s.assignment from sluice.subscription s join sluice.member m using (member)
  where s."group" = p_group and m.paused_at is null
    and (m.member in (select sluice.live_members()) or sluice.is_awaited(m.static_id, m.lease_until))
  order by m.member, s.topic limit 1);
comment on function sluice.assignment_in_force(integer) is 'How the partitions of a group are assigned at present.';

create view sluice.assignments as
select g.name as "group", t.name as topic, p.partition, m.member, m.name as owner, m.static_id,
  case when p.owner is not null then l.at end as since, p.epoch, l.why, a.assignment, sluice.is_owned(p.position) as held
from sluice.position p
join sluice.consumer_group g using ("group")
join sluice.topic t using (topic)
left join sluice.group_topic gt on gt."group" = p."group" and gt.topic = p.topic
left join sluice.member m on m.member = p.owner
left join lateral (select v.at, v.why from sluice.move v where v.position = p.position order by v.move desc limit 1) l on true
left join lateral (select sluice.assignment_in_force(p."group") as assignment) a on true
where coalesce(gt.mode, 'assigned') = 'assigned';
comment on view sluice.assignments is 'Sluice: which process has which partition for a group, since when, and why it came to it.';
comment on column sluice.assignments.member is 'The number of its owner in sluice.members; null when nobody has it.';
comment on column sluice.assignments.static_id is 'The name under which its owner keeps it over a restart; null: it does not.';
comment on column sluice.assignments.since is 'When its owner took it.';
comment on column sluice.assignments.epoch is 'Counts the owners.';
comment on column sluice.assignments.why is 'Why it came to its last owner, as in sluice.moves.';
comment on column sluice.assignments.assignment is 'How the group''s partitions are assigned: sticky, range or round-robin, as its oldest member wants it; null: it has none.';
comment on column sluice.assignments.held is 'Whether its owner''s session is there and has it. False with an owner: it is awaited back, or about to be replaced.';

create view sluice.moves as
select l.at, g.name as "group", t.name as topic, p.partition, l.from_name as "from", l.to_name as "to", l.why, l.epoch
from sluice.move l
join sluice.position p using (position)
join sluice.consumer_group g using ("group")
join sluice.topic t using (topic);
comment on view sluice.moves is 'Sluice: which partition went from which process to which, when and why; the latest of each, and others for 30 days.';
comment on column sluice.moves."from" is 'Who had it before; null: nobody.';
comment on column sluice.moves.why is 'start: nobody had had it. leave: its owner closed. rebalance: it fell to another''s share. pause: its owner was paused. reset: the group was moved. restart: a static member came back. reconnect: its owner lost its session and came back. crash: its owner''s session was gone. freeze: its owner was not heard of for its lease.';
comment on column sluice.moves.epoch is 'The epoch that began.';

create view sluice.leader_moves as
select l.at, d.name as duty, l.from_name as "from", l.to_name as "to", l.why, l.epoch
from sluice.move l join sluice.duty d using (duty);
comment on view sluice.leader_moves is 'Sluice: which duty of sluice.leaders went from which process to which, when and why.';
comment on column sluice.leader_moves."from" is 'Who had it before; null: nobody.';
comment on column sluice.leader_moves.why is 'As in sluice.moves.';
comment on column sluice.leader_moves.epoch is 'The epoch that began.';

create or replace view sluice.members as
select m.member, m.name, sluice.is_locked(1936487685, m.member) or sluice.holds_lease(m.member) as live,
  array(select g.name || ' ← ' || t.name from sluice.subscription s
    join sluice.consumer_group g using ("group") join sluice.topic t using (topic)
    where s.member = m.member order by 1) as subscriptions,
  (select count(*) from sluice.position p where p.owner = m.member) as partitions,
  nullif(m.backend_pid, 0) as backend_pid, m.started_at, m.lease_until,
  m.paused_at as paused_since, m.paused_by, m.paused_reason, m.static_id
from sluice.member m;
comment on column sluice.members.static_id is 'The name under which it keeps its partitions over a restart, until lease_until; null: it keeps none.';
