-- breaking: no
-- Behind a pooler that gives each transaction another server process, nothing of a session lasts: neither its locks nor its LISTEN. A
-- member there has the lease of its row instead, renewed by its heartbeat, by the database's clock.
--
-- One idea carries all of it: a member lives while its session holds its lock or, if it has no session, while its lease runs; and what it owns is
-- nobody else's while it lives. Whoever has a session locks what it owns as before, so that it is free the moment the session ends; what a
-- member without one owns is free when its lease has run out. Whoever takes something looks for both, under the fence of what it takes. The
-- epoch still decides what is written: an owner that was replaced writes nothing, however late it finds out.

alter table sluice.member add column leased boolean not null default false;
comment on column sluice.member.leased is 'Whether it has no session, behind a pooler: it lives while lease_until is ahead, whatever is locked.';
comment on table sluice.member is 'A process that consumes. It lives while its session holds the advisory lock (1936487685, member) or, where it is leased, until lease_until.';
comment on column sluice.member.backend_pid is 'The server process of its session; 0: it has none.';

alter table sluice.duty add column member integer;
comment on column sluice.duty.member is 'The member that took it last; null when it let it go, and before there were any.';
comment on table sluice.duty is 'What one process at a time does for all. The session lock (1936487686, duty) or the lease of a member without a session says who has it, the epoch fences it.';
comment on column sluice.position.owner is 'The member that took it last; null when it was given back. It still has it while the session lock (1936487684, position) is held or, if it is leased, while its lease runs.';

-- Whether a session of this database holds an advisory lock of one of Sluice's classes.
-- Locks: none (pg_locks is a snapshot of the lock table).
create function sluice.is_locked(p_class integer, p_key integer) returns boolean language sql volatile
return exists (
  select from pg_locks l
  where l.locktype = 'advisory' and l.classid = p_class::oid and l.objid = p_key::oid and l.objsubid = 2 and l.granted
    and l.database = (select oid from pg_database where datname = current_database()));
comment on function sluice.is_locked(integer, integer) is 'Internal: whether a session holds this lock.';

-- Whether a member lives by its lease. Never one that has a session: it dies with that, however long its lease would run.
-- Locks: none.
create function sluice.holds_lease(p_member integer) returns boolean language sql volatile
return exists (select from sluice.member m where m.member = p_member and m.leased and m.lease_until > clock_timestamp());
comment on function sluice.holds_lease(integer) is 'Internal: whether a member without a session is alive.';

-- Who lives.
-- Locks: none (pg_locks is a snapshot of the lock table).
create or replace function sluice.live_members() returns setof integer language sql stable as $$
  select l.objid::bigint::integer from pg_locks l
  where l.locktype = 'advisory' and l.classid = 1936487685 and l.objsubid = 2 and l.granted
    and l.database = (select oid from pg_database where datname = current_database())
  union
  select m.member from sluice.member m where m.leased and m.lease_until > clock_timestamp()
$$;
comment on function sluice.live_members() is 'The members whose session is there, or whose lease runs.';

-- Whether somebody owns a position: the session lock of ownership is held, or the lease of its owner runs. In a shared group, which owns nothing: a
-- member lives.
create or replace function sluice.is_owned(p_position integer) returns boolean language sql volatile
return sluice.is_locked(1936487684, p_position)
or exists (select from sluice.position p where p.position = p_position and sluice.holds_lease(p.owner))
or exists (
  select from sluice.position p
  join sluice.group_topic gt on gt."group" = p."group" and gt.topic = p.topic and gt.mode = 'shared'
  join sluice.subscription s on s."group" = p."group" and s.topic = p.topic
  where p.position = p_position and s.member in (select sluice.live_members()));
comment on function sluice.is_owned(integer) is 'Internal: whether a session owns a position, or a member by its lease, or members share it.';

-- Takes a position over for a member, as sluice.take_over does, unless another has it. The caller holds the session lock of ownership if it has a session.
-- No row: another has it.
-- Two that take at once cannot both get it. Of two with sessions, one has the lock. Otherwise the fence puts one first, and the other sees
-- what that one was: the owner in the row, whose lease runs, or the lock, which was taken before the fence was asked for.
-- Looked at once before the fence: who has it may be in a long transaction, and what it begins next would queue up behind a taker.
-- Locks: the fence of the position, exclusive.
create function sluice.take_free(p_position integer, p_member integer, p_reserve integer)
returns table (epoch bigint, next_offset bigint, done_above text, suspect_to bigint, crashes integer) language plpgsql as $$
begin
  if sluice.is_anothers(p_position, p_member) then return; end if;
  perform pg_advisory_xact_lock(1936487683, p_position);
  if sluice.is_anothers(p_position, p_member) then return; end if;
  return query select t.epoch, t.next_offset, t.done_above, t.suspect_to, t.crashes from sluice.take_over(p_position, p_member, p_reserve) t;
end $$;
comment on function sluice.take_free(integer, integer, integer) is 'Takes a position over under a new epoch, unless a member that lives has it.';

-- Whether somebody else has a position, as far as locks do not tell the caller: by a lease; or by a lock, if the caller has none itself.
-- Locks: none.
create function sluice.is_anothers(p_position integer, p_member integer) returns boolean language sql volatile
return exists (select from sluice.position p where p.position = p_position and p.owner <> p_member and sluice.holds_lease(p.owner))
  or (exists (select from sluice.member m where m.member = p_member and m.leased) and sluice.is_locked(1936487684, p_position));
comment on function sluice.is_anothers(integer, integer) is 'Internal: whether another member that lives has a position.';

-- Takes a duty for a member, unless another has it: null. As with a position, the caller holds the session lock if it has a session.
-- Locks: the fence of the duty, exclusive.
create function sluice.take_free_duty(p_duty integer, p_owner text, p_member integer) returns bigint language plpgsql as $$
declare
  v_epoch bigint;
begin
  if sluice.is_anothers_duty(p_duty, p_member) then return null; end if;
  perform pg_advisory_xact_lock(1936487687, p_duty);
  if sluice.is_anothers_duty(p_duty, p_member) then return null; end if;
  v_epoch := sluice.take_duty(p_duty, p_owner);
  update sluice.duty set member = p_member where duty = p_duty;
  return v_epoch;
end $$;
comment on function sluice.take_free_duty(integer, text, integer) is 'Takes a duty under a new epoch, unless a member that lives has it.';

-- The same question as sluice.is_anothers, about a duty.
-- Locks: none.
create function sluice.is_anothers_duty(p_duty integer, p_member integer) returns boolean language sql volatile
return exists (select from sluice.duty d where d.duty = p_duty and d.member <> p_member and sluice.holds_lease(d.member))
  or (exists (select from sluice.member m where m.member = p_member and m.leased) and sluice.is_locked(1936487686, p_duty));
comment on function sluice.is_anothers_duty(integer, integer) is 'Internal: whether another member that lives has a duty.';

create or replace view sluice.members as
select m.member, m.name, sluice.is_locked(1936487685, m.member) or sluice.holds_lease(m.member) as live,
  array(select g.name || ' ← ' || t.name from sluice.subscription s
    join sluice.consumer_group g using ("group") join sluice.topic t using (topic)
    where s.member = m.member order by 1) as subscriptions,
  (select count(*) from sluice.position p where p.owner = m.member) as partitions,
  nullif(m.backend_pid, 0) as backend_pid, m.started_at, m.lease_until,
  m.paused_at as paused_since, m.paused_by, m.paused_reason
from sluice.member m;
comment on column sluice.members.live is 'Whether its session is there or, if it has none, its lease runs. One that is not is removed by the next that looks.';
comment on column sluice.members.backend_pid is 'The server process of its session; null when it has none and lives by its lease, behind a pooler.';

create or replace view sluice.leaders as
select d.name as duty, d.owner, d.epoch, d.since, sluice.is_locked(1936487686, d.duty) or sluice.holds_lease(d.member) as held
from sluice.duty d;
