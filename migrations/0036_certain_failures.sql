-- breaking: no
-- A message whose handler opened no transaction is known to be undone when it has failed: it needs no marker in sluice.done, which only
-- finds out whether such a transaction was committed after all. With it, keeping a failure cost the database twice as much: a row more, and later
-- its removal. And positions are written by primary keys, whatever the statistics say: sluice.done is nearly always empty when those are
-- made, so its rows were looked for by reading all of it, dead ones too. After 300,000 of them, before a vacuum came, writing eight positions
-- took 40 ms instead of 3. The same for shared groups, where most calls found out anew, position by position, that nothing is paused.

-- Keeps messages that failed, whole, until they are handed over again: their positions may pass them. In p_messages, numbered from 1:
--   first  the message was not put off before
--   doubt  a transaction of its handler may have committed: then it is done, and only the answer was lost. Missing: it may
-- Those that are done after all, or whose position has another owner, are told; the others are kept. Once more changes nothing.
-- Locks: the fences of p_positions, shared, in their order; then rows of sluice.retry and markers of sluice.done.
create or replace function sluice.keep_failures(p_positions integer[], p_messages json) returns table (number integer, outcome text) language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
begin
  perform sluice.hold_fences(p_positions);
  return query
    with asked as materialized (
      select m.*, clock_timestamp() + make_interval(secs => m.delay_ms / 1000) as due, m.first and not coalesce(m.doubt, true) as certain,
        m.position = any (p_positions)
          and exists (select from sluice.position p where p.position = m.position and p.epoch = m.epoch) as holds
      from json_to_recordset(p_messages) as m(
        number integer, position integer, epoch bigint, "offset" bigint, first boolean, doubt boolean, attempt integer, delay_ms double precision,
        blocks text, id text, key text, value text, headers json, timestamp_ms double precision, error text,
        appended_ms double precision, time_to_live_ms bigint)),
    again as (
      update sluice.retry r set attempt = f.attempt, due = f.due, error = f.error, failed_at = clock_timestamp()
      from asked f where f.holds and not f.certain and r.position = f.position and r."offset" = f."offset"
      returning r.position, r."offset"),
    marked as (
      insert into sluice.done (position, "offset")
      select f.position, f."offset" from asked f
      where f.holds and f.first and not f.certain
        and not exists (select from sluice.retry r where r.position = f.position and r."offset" = f."offset")
      order by f.position, f."offset" on conflict do nothing
      returning position, "offset"),
    added as (
      insert into sluice.retry (position, "offset", attempt, due, blocks, id, key, value, headers, "timestamp", error, appended_at, time_to_live_ms)
      select f.position, f."offset", f.attempt, f.due, f.blocks, f.id, f.key, f.value, f.headers, to_timestamp(f.timestamp_ms / 1000), f.error,
        to_timestamp(f.appended_ms / 1000), f.time_to_live_ms
      from asked f
      -- By the hash of a subquery: a join would compare all with all, as the two have no index.
      where f.holds and f.certain or f.first and (f.position, f."offset") in (select m.position, m."offset" from marked m)
      -- One that is certain may have been kept by a call whose answer was lost.
      on conflict (position, "offset") do nothing)
    select f.number, case when f.holds then 'already' else 'fenced' end
    from asked f
    where not f.holds
      or (not f.certain
        and (f.position, f."offset") not in (select a.position, a."offset" from again a)
        and (f.position, f."offset") not in (select m.position, m."offset" from marked m));
end $$;

-- Gives a message up: keeps it as a dead letter and removes its row. Once more changes nothing.
-- What the position has not passed is marked as done, under the row of the position, so that it is not passed meanwhile.
-- Locks: the fence of the position, shared; the position; the message's row and its marker.
create or replace function sluice.bury(p_position integer, p_epoch bigint, p_letter json) returns text language plpgsql as $$
declare
  v_offset constant bigint := (p_letter ->> 'offset')::bigint;
  v_next bigint;
  v_is_kept boolean;
  v_is_marked boolean := false;
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  select p.next_offset into v_next from sluice.position p where p.position = p_position and p.epoch = p_epoch for share;
  if not found then return 'fenced'; end if;
  delete from sluice.retry r where r.position = p_position and r."offset" = v_offset;
  v_is_kept := found;
  if v_offset >= v_next then
    insert into sluice.done (position, "offset") values (p_position, v_offset) on conflict do nothing;
    v_is_marked := found;
  end if;
  if not (v_is_kept or v_is_marked) then return 'already'; end if;
  insert into sluice.dead_letter ("group", topic, partition, "offset", id, key, value, headers, "timestamp", reason, error, attempts)
  select l."group", l.topic, l.partition, l."offset", l.id, l.key, l.value, l.headers, to_timestamp(l.timestamp_ms / 1000), l.reason, l.error, l.attempts
  from json_to_record(p_letter) as l(
    "group" integer, topic integer, partition integer, "offset" bigint, id text, key text, value text, headers json,
    timestamp_ms double precision, reason text, error text, attempts integer)
  on conflict ("group", topic, partition, "offset") do nothing;
  return 'buried';
end $$;

-- Writes positions, those whose epoch holds, and gives them back. Markers go as the position passes them: those from where it was on, because
-- below there are none, and as many dead rows as there were messages.
-- Locks: for each position its fence, shared, then its row; the caller gives them in ascending order.
create or replace function sluice.commit_positions(
  p_positions integer[], p_epochs bigint[], p_next_offsets bigint[], p_done_above text[], p_handed_to bigint[]
) returns setof integer language plpgsql
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  v_from bigint;
begin
  for i in 1 .. cardinality(p_positions) loop
    perform pg_advisory_xact_lock_shared(1936487683, p_positions[i]);
    v_from := (select p.next_offset from sluice.position p where p.position = p_positions[i]);
    update sluice.position p set
      next_offset = p_next_offsets[i], done_above = p_done_above[i]::int8multirange, handed_to = p_handed_to[i],
      committed_at = clock_timestamp()
    where p.position = p_positions[i] and p.epoch = p_epochs[i] and p.next_offset <= p_next_offsets[i];
    if found then
      delete from sluice.done d where d.position = p_positions[i] and d."offset" >= v_from and d."offset" < p_next_offsets[i];
      delete from sluice.handed_out h where h.position = p_positions[i] and h."offset" < p_next_offsets[i];
      return next p_positions[i];
    end if;
  end loop;
end $$;

-- Takes a position over: waits until whatever its last owner has in flight has committed or failed, and raises the epoch,
-- so that nothing of the old owner commits afterwards. The caller holds the session lock of ownership and may hand out
-- p_reserve messages before it writes the position; 16 at most where two processes have ended.
-- Where the position is written by the handlers (explicit commits), another culprit may lie above the suspects while the position stays below
-- them: after several ends more the suspects are widened again.
-- What waits to be handed over again counts as done here: its row says what becomes of it. Markers that the position has passed are removed.
-- Locks: the fence of the position, exclusive.
create or replace function sluice.take_over(p_position integer, p_member integer, p_reserve integer)
returns table (epoch bigint, next_offset bigint, done_above text, suspect_to bigint, crashes integer) language plpgsql
set enable_seqscan = off as $$
declare
  v_crashes integer;
begin
  perform pg_advisory_xact_lock(1936487683, p_position);
  -- Under the fence nobody else writes it.
  select case when p.handed_to > p.next_offset and p.next_offset < p.suspect_to then p.crashes + 1
    when p.handed_to > p.next_offset then 1
    when p.next_offset < p.suspect_to then p.crashes
    else 0 end into v_crashes from sluice.position p where p.position = p_position;
  delete from sluice.done d using sluice.position p
  where p.position = p_position and d.position = p_position and d."offset" < p.next_offset;
  return query
    update sluice.position p set
      epoch = p.epoch + 1,
      owner = p_member,
      handed_to = p.next_offset + case when v_crashes > 1 then least(p_reserve, 16) else p_reserve end,
      crashes = v_crashes,
      suspect_to = case when p.handed_to <= p.next_offset then p.suspect_to
        when p.next_offset >= p.suspect_to then p.handed_to
        when p.crashes < 6 then least(p.suspect_to, p.handed_to)
        else greatest(p.suspect_to, p.handed_to) end,
      done_above = p.done_above + coalesce(
        (select range_agg(int8range(o."offset", o."offset" + 1)) from (
          select d."offset" from sluice.done d where d.position = p_position
          union all select r."offset" from sluice.retry r where r.position = p_position) o
        where o."offset" >= p.next_offset),
        '{}')
    where p.position = p_position
    returning p.epoch, p.next_offset, p.done_above::text, p.suspect_to, p.crashes;
end $$;

-- Moves messages that failed out of their leases into rows of their own: message i is p_offsets[i] of lease p_leases[i], and so on.
--   p_doubts  a transaction of its handler may have committed, and only the answer was lost: then it is done. Null: it may
-- Those that are done after all, or whose lease has another holder, are told, numbered from 1; the others are moved. Once more changes nothing.
-- Locks: the fences of the positions, shared, ascending; markers; leases, ascending; then rows of sluice.shared_retry.
create function sluice.move_all_to_retry(
  p_positions integer[], p_leases bigint[], p_offsets bigint[], p_attempts integer[], p_delays_ms double precision[], p_errors text[], p_keys text[],
  p_doubts boolean[]
) returns table (number integer, outcome text) language plpgsql
-- By primary keys, whatever the statistics say: the tables are nearly always empty but may be bloated.
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  v_moved integer[];
begin
  perform sluice.hold_fences(p_positions);
  if coalesce(true = any (p_doubts), true) then
    -- Whose marker can be had was not done by a transaction of its handler. The markers are not kept: the leases say it from here on.
    with asked as materialized (
      select a.number::integer, a.position, a."offset", coalesce(a.doubt, true) as doubt
      from unnest(p_positions, p_leases, p_offsets, p_doubts) with ordinality as a(position, lease, "offset", doubt, number)
      join sluice.lease l on l.lease = a.lease and l.position = a.position
      where not l.done @> a."offset"),
    marked as (
      insert into sluice.done (position, "offset") select a.position, a."offset" from asked a where a.doubt order by a.position, a."offset"
      on conflict do nothing returning position, "offset")
    select array_agg(a.number) into v_moved from asked a
    where not a.doubt or (a.position, a."offset") in (select m.position, m."offset" from marked m);
    delete from sluice.done d using unnest(v_moved) as m(number)
    where d.position = p_positions[m.number] and d."offset" = p_offsets[m.number];
    perform from sluice.lease l where l.lease = any (select p_leases[m.number] from unnest(v_moved) as m(number)) order by l.lease for update;
  else
    select array_agg(f.number) into v_moved from (
      select a.number::integer
      from unnest(p_positions, p_leases, p_offsets) with ordinality as a(position, lease, "offset", number)
      join sluice.lease l on l.lease = a.lease and l.position = a.position
      where not l.done @> a."offset"
      order by l.lease for update of l) f;
  end if;
  if v_moved is not null then
    update sluice.lease l set done = l.done + f.done
    from (
      select p_leases[m.number] as lease, range_agg(int8range(p_offsets[m.number], p_offsets[m.number] + 1)) as done
      from unnest(v_moved) as m(number) group by 1) f
    where l.lease = f.lease;
    insert into sluice.shared_retry (position, "offset", attempt, due, error, key)
    select p_positions[m.number], p_offsets[m.number], p_attempts[m.number],
      clock_timestamp() + make_interval(secs => p_delays_ms[m.number] / 1000), p_errors[m.number], p_keys[m.number]
    from unnest(v_moved) as m(number) order by 1, 2;
    if cardinality(v_moved) = cardinality(p_offsets) then return; end if;
  end if;
  return query
    select a.number::integer, case when l.lease is null then 'fenced' else 'done' end
    from unnest(p_positions, p_leases, p_offsets) with ordinality as a(position, lease, "offset", number)
    left join sluice.lease l on l.lease = a.lease and l.position = a.position
    -- (What is done in its lease was moved by an earlier call, whose answer was lost, or by this one.)
    where l.lease is null or not l.done @> a."offset";
end $$;
comment on function sluice.move_all_to_retry(integer[], bigint[], bigint[], integer[], double precision[], text[], text[], boolean[]) is
  'Internal: moves messages of leased ranges into rows of their own.';

-- The same as processes call it that do not say which are certain.
create or replace function sluice.move_all_to_retry(
  p_positions integer[], p_leases bigint[], p_offsets bigint[], p_attempts integer[], p_delays_ms double precision[], p_errors text[], p_keys text[]
) returns table (number integer, outcome text) language sql
as 'select m.number, m.outcome from sluice.move_all_to_retry($1, $2, $3, $4, $5, $6, $7, null) m';

-- As it was, but nearly always nothing at all is paused.
create or replace function sluice.unpaused(p_positions integer[]) returns integer[] language plpgsql stable as $$
begin
  if not exists (select from sluice.pause) then return p_positions; end if;
  return array(
    select p.position from unnest(p_positions) with ordinality a(position, number) join sluice.position p using (position)
    where not sluice.is_paused(p."group", p.topic, p.partition) order by a.number);
end $$;

-- No row of sluice.position is ever removed, so nothing is to go with it; and to ask for it locked it with every row.
alter table sluice.shared_retry drop constraint shared_retry_position;
