-- breaking: no
-- An attempt is counted once, however often that is asked for because an answer was lost: whoever asks says which attempt it is, or which owner
-- it is. Before, each repetition counted, and a message could be given up that had not been handed over as often as its consumer allows. (The
-- functions of three arguments stay for processes of an older version.)

-- Counts an attempt of a redriven message before it is made: the p_attempt-th, or an earlier one where the last did not count after all.
-- Returns which it is, 0 when the message waits no more, -1 when the position has another owner. Once more changes nothing.
-- Locks: the fence of the position, shared; then the row.
create function sluice.begin_redriven(p_position integer, p_epoch bigint, p_redriven bigint, p_attempt integer) returns integer language plpgsql as $$
declare
  v_attempts integer;
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  if not exists (select from sluice.position where position = p_position and epoch = p_epoch) then return -1; end if;
  update sluice.redriven set attempts = least(p_attempt, attempts + 1) where position = p_position and redriven = p_redriven
  returning attempts into v_attempts;
  return coalesce(v_attempts, 0);
end $$;
comment on function sluice.begin_redriven(integer, bigint, bigint, integer) is 'Internal: counts an attempt of a redriven message before it is made.';

-- Counts an attempt of messages before they are made: the p_attempts-th (all pairwise), or an earlier one where the last did not count after
-- all. Gives those that wait, whole, and those whose position has another owner; numbered from 1. Once more changes nothing.
-- Locks: the fences of p_positions, shared, in their order; then rows of sluice.retry.
create function sluice.begin_all_retries(p_positions integer[], p_epochs bigint[], p_offsets bigint[], p_attempts integer[])
returns table (number integer, epoch_holds boolean, attempt integer, id text, key text, value text, headers text, timestamp_ms double precision,
  error text, appended_ms double precision, time_to_live_ms double precision) language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
begin
  perform sluice.hold_fences(p_positions);
  return query
    with asked as materialized (
      select a.number::integer, a.position, a."offset", a.attempt,
        exists (select from sluice.position p where p.position = a.position and p.epoch = a.epoch) as epoch_holds
      from unnest(p_positions, p_epochs, p_offsets, p_attempts) with ordinality as a(position, epoch, "offset", attempt, number)),
    begun as (
      update sluice.retry r set attempt = least(a.attempt, r.attempt + 1), due = null
      from asked a where a.epoch_holds and r.position = a.position and r."offset" = a."offset"
      returning a.number, r.*)
    select a.number, a.epoch_holds, b.attempt, b.id, b.key, b.value, b.headers::text,
      (extract(epoch from b."timestamp") * 1000)::double precision, b.error,
      (extract(epoch from coalesce(b.appended_at, b.failed_at)) * 1000)::double precision, b.time_to_live_ms::double precision
    from asked a left join begun b using (number)
    where not a.epoch_holds or b.number is not null;
end $$;
comment on function sluice.begin_all_retries(integer[], bigint[], bigint[], integer[]) is 'Internal: counts attempts before they are made, and gives the messages.';

alter table sluice.handed_out add column epoch bigint;
comment on column sluice.handed_out.epoch is 'Of the owner that noted it last. Null: it was noted by an older version.';

-- Notes that a message that has seen processes end is handed over, before it is, and returns how often that makes. The first
-- note counts p_first. Null when the position has another owner. An owner hands it over once: once more changes nothing.
-- Locks: the fence of the position, shared; then the row.
create or replace function sluice.hand_out(p_position integer, p_epoch bigint, p_offset bigint, p_first integer) returns integer language plpgsql as $$
declare
  v_attempt integer;
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  perform from sluice.position where position = p_position and epoch = p_epoch;
  if not found then return null; end if;
  insert into sluice.handed_out as h (position, "offset", attempt, epoch) values (p_position, p_offset, p_first, p_epoch)
  on conflict (position, "offset") do update
    set attempt = case when h.epoch = p_epoch then h.attempt else h.attempt + 1 end, epoch = p_epoch
  returning h.attempt into v_attempt;
  return v_attempt;
end $$;

-- As before. What a member takes again that was in its own hand when its time ran out does not count: the answer to its claim was lost.
-- Locks: the rows; those that another has are passed over.
create or replace function sluice.claim_retries(p_member integer, p_positions integer[], p_most integer, p_lease_ms bigint)
returns table ("position" integer, "offset" bigint, attempt integer, claim bigint) language sql
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
  with found as (
    select f.position, f."offset" from unnest(p_positions) as p(position)
    cross join lateral (
      select r.position, r."offset", r.due from sluice.shared_retry r
      -- (A subquery, because the index cannot be searched for a clock that goes on.)
      where r.position = p.position and r.due <= (select clock_timestamp())
        and (r.member is null or (r.member <> p_member and r.member not in (select sluice.live_members()))
          or sluice.has_run_out(r.lease_until, r.member, p_member, p_lease_ms))
      order by r.due limit p_most) f
    order by f.due limit p_most),
  due as (
    select r.position, r."offset" from found f
    join sluice.shared_retry r on r.position = f.position and r."offset" = f."offset"
    -- Another may have been quicker.
    where r.member is null or (r.member <> p_member and r.member not in (select sluice.live_members()))
      or sluice.has_run_out(r.lease_until, r.member, p_member, p_lease_ms)
    for update of r skip locked)
  update sluice.shared_retry r set attempt = r.attempt + case when r.member = p_member then 0 else 1 end,
    claim = nextval('sluice.claim_number'), member = p_member,
    lease_until = clock_timestamp() + make_interval(secs => p_lease_ms::double precision / 1000)
  from due where r.position = due.position and r."offset" = due."offset"
  returning r.position, r."offset", r.attempt, r.claim
$$;

-- The same for redriven messages. Here, too, who asks is alive: nothing is taken from its own hand before its time has run out.
-- Locks: the rows; those that another has are passed over.
create or replace function sluice.claim_redriven(p_member integer, p_positions integer[], p_most integer, p_lease_ms bigint)
returns setof sluice.redriven language sql as $$
  with due as (
    select r.position, r.redriven from sluice.redriven r
    where r.position = any (p_positions) and r.due <= clock_timestamp()
      and (r.member is null or (r.member <> p_member and r.member not in (select sluice.live_members()))
        or sluice.has_run_out(r.lease_until, r.member, p_member, p_lease_ms))
    order by r.due, r."offset" limit p_most for update skip locked)
  update sluice.redriven r set attempts = r.attempts + case when r.member = p_member then 0 else 1 end,
    claim = nextval('sluice.claim_number'), member = p_member,
    lease_until = clock_timestamp() + make_interval(secs => p_lease_ms::double precision / 1000)
  from due where r.position = due.position and r.redriven = due.redriven
  returning r.*
$$;
