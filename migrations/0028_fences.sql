-- breaking: no
-- What was left in somebody's hand: a fence that a forgotten transaction holds, and what a member of a shared group does not know it has.

-- Fences --------------------------------------------------------------------------------------------------------------

-- Takes the fence of a position for a takeover, which waits for what is in flight.
-- A worker's own transactions end themselves: whatever takes a fence in one carries a timeout along (commitSoon in
-- libs/worker/consumer/handler-transaction.ts). What is left for this guard are transactions that somebody began by hand: "begin; select
-- sluice.reset_position(...)" in a psql that is then forgotten holds the fence, exclusively, for ever, and asked for no timeout. Such a session
-- is ended once it has been idle for five seconds, and what it did is rolled back. Where it is not the caller's to end, it is waited for.
-- Locks: the fence of the position, exclusive.
create or replace function sluice.fence_position(p_position integer) returns void language plpgsql as $$
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
      begin
        -- What others do is read once in a transaction, unless asked for anew.
        perform pg_stat_clear_snapshot();
        perform pg_terminate_backend(a.pid) from pg_stat_activity a join pg_locks l using (pid)
        where l.locktype = 'advisory' and l.classid = 1936487683 and l.objid = p_position::oid and l.objsubid = 2 and l.granted
          and l.database = (select oid from pg_database where datname = current_database())
          and a.state like 'idle in transaction%' and a.state_change < clock_timestamp() - interval '5 seconds';
      exception when insufficient_privilege then
        -- It is another role's.
        raise debug 'sluice: who holds the fence of position % is not this role''s to end', p_position;
      end;
    end;
  end loop;
end $$;

-- Leases and claims whose answer was lost ------------------------------------------------------------------------------

-- Whether what a member of a shared group has in hand may be taken from it because its lease has run out. A member may take its own, too: when the
-- answer to its claim was lost, it does not know that it has it, never renews it, and nobody else may be there. It waits for a second lease
-- first: one that is merely late with renewing what it works on shall not hand it over a second time. What sluice.expire_lease took from it is
-- for others.
-- Locks: none.
create function sluice.has_run_out(p_until timestamptz, p_holder integer, p_taker integer, p_lease_ms bigint) returns boolean language sql volatile
return case when p_holder = p_taker
  then isfinite(p_until) and p_until < clock_timestamp() - make_interval(secs => p_lease_ms::double precision / 1000)
  else p_until < clock_timestamp() end;
comment on function sluice.has_run_out(timestamptz, integer, integer, bigint) is 'Internal: whether a lease may be taken from who has it.';

-- As before; a member may take its own as well.
-- Locks: the fences, exclusive, ascending: it waits for what is in flight in the name of the old number. At most two seconds.
create or replace function sluice.take_over_leases(p_member integer, p_positions integer[], p_most integer, p_lease_ms bigint)
returns table (lease bigint, "position" integer, from_offset bigint, to_offset bigint, done text, deliveries smallint)
language plpgsql as $$
declare
  v record;
begin
  perform set_config('lock_timeout', '2s', true);
  for v in
    select l.lease, l.position from sluice.lease l
    where l.position = any (p_positions)
      and (l.member is null or l.member not in (select sluice.live_members())
        or sluice.has_run_out(l.lease_until, l.member, p_member, p_lease_ms))
    order by l.position, l.to_offset limit p_most
  loop
    perform pg_advisory_xact_lock(1936487683, v.position);
    -- It may have been renewed, or taken by another, while this waited.
    return query
      update sluice.lease l set lease = default, member = p_member,
        deliveries = l.deliveries + (l.member is not null)::integer,
        done = l.done + coalesce(
          (select range_agg(int8range(d."offset", d."offset" + 1)) from sluice.done d
            where d.position = l.position and d."offset" >= l.from_offset and d."offset" < l.to_offset), '{}'),
        lease_until = clock_timestamp() + make_interval(secs => p_lease_ms::double precision / 1000)
      where l.lease = v.lease
        and (l.member is null or l.member not in (select sluice.live_members())
          or sluice.has_run_out(l.lease_until, l.member, p_member, p_lease_ms))
      returning l.lease, l.position, l.from_offset, l.to_offset, l.done::text, l.deliveries;
  end loop;
end $$;

-- As before; a member may take its own as well.
-- Locks: the rows; those that another has are passed over.
create or replace function sluice.claim_retries(p_member integer, p_positions integer[], p_most integer, p_lease_ms bigint)
returns table ("position" integer, "offset" bigint, attempt integer, claim bigint) language sql as $$
  with due as (
    select r.position, r."offset" from sluice.shared_retry r
    where r.position = any (p_positions) and r.due <= clock_timestamp()
      and (r.member is null or r.member not in (select sluice.live_members())
        or sluice.has_run_out(r.lease_until, r.member, p_member, p_lease_ms))
    order by r.due limit p_most for update skip locked)
  update sluice.shared_retry r set attempt = r.attempt + 1, claim = nextval('sluice.claim_number'), member = p_member,
    lease_until = clock_timestamp() + make_interval(secs => p_lease_ms::double precision / 1000)
  from due where r.position = due.position and r."offset" = due."offset"
  returning r.position, r."offset", r.attempt, r.claim
$$;

-- As before; a member may take its own as well.
-- Locks: the rows; those that another has are passed over.
create or replace function sluice.claim_redriven(p_member integer, p_positions integer[], p_most integer, p_lease_ms bigint)
returns setof sluice.redriven language sql as $$
  with due as (
    select r.position, r.redriven from sluice.redriven r
    where r.position = any (p_positions) and r.due <= clock_timestamp()
      and (r.member is null or r.member not in (select sluice.live_members())
        or sluice.has_run_out(r.lease_until, r.member, p_member, p_lease_ms))
    order by r.due, r."offset" limit p_most for update skip locked)
  update sluice.redriven r set attempts = r.attempts + 1, claim = nextval('sluice.claim_number'), member = p_member,
    lease_until = clock_timestamp() + make_interval(secs => p_lease_ms::double precision / 1000)
  from due where r.position = due.position and r.redriven = due.redriven
  returning r.*
$$;
