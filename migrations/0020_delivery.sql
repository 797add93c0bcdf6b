-- breaking: no
-- What failed, many partitions in one statement: with one for each partition a process that consumes eight of them wrote nearly
-- every failure in a statement and a commit of its own. The functions for one position stay for processes that still call them.

-- Takes the fences of positions, shared, until the transaction ends: whatever epoch is read afterwards holds until then.
-- Locks: the fences, shared, ascending.
create function sluice.hold_fences(p_positions integer[]) returns void language plpgsql as $$
declare
  v_position integer;
begin
  for v_position in select distinct p from unnest(p_positions) as p order by p loop
    perform pg_advisory_xact_lock_shared(1936487683, v_position);
  end loop;
end $$;
comment on function sluice.hold_fences(integer[]) is 'Internal: takes the fences of positions, shared.';

-- Puts messages off that failed: from now on their rows say what becomes of them, and their positions may pass them.
-- messages: [{"number", "position", "epoch", "offset", "first", "attempt", "delay_ms", "blocks", "id", "key", "value", "headers",
-- "timestamp_ms", "error"}, …], values as text, of p_positions only. first: it has no row yet.
-- Returns for each number 'put off', or 'already' when it was done after all (its transaction committed and the answer was lost);
-- no row at all when its position has another owner.
-- A first failure is marked as done, or finds that it is, or that its transaction is being committed at this moment: then it
-- waits for that. A later one finds its row gone instead.
-- Locks: the fences of the positions, shared, ascending; then rows of retries and done markers.
create function sluice.put_off_all(p_positions integer[], p_messages json) returns table (number integer, outcome text) language plpgsql
-- By primary keys, whatever the statistics say: the tables are nearly always empty but may be bloated.
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
begin
  perform sluice.hold_fences(p_positions);
  return query
    with failed as materialized (
      select m.*, clock_timestamp() + make_interval(secs => m.delay_ms / 1000) as due
      from json_to_recordset(p_messages) as m(
        number integer, position integer, epoch bigint, "offset" bigint, first boolean, attempt integer, delay_ms double precision,
        blocks text, id text, key text, value text, headers json, timestamp_ms double precision, error text)
      where m.position = any (p_positions)
        and exists (select from sluice.position p where p.position = m.position and p.epoch = m.epoch)),
    again as (
      update sluice.retry r set attempt = f.attempt, due = f.due, error = f.error, failed_at = clock_timestamp()
      from failed f where r.position = f.position and r."offset" = f."offset"
      returning r.position, r."offset"),
    marked as (
      insert into sluice.done (position, "offset")
      select f.position, f."offset" from failed f
      where f.first and not exists (select from sluice.retry r where r.position = f.position and r."offset" = f."offset")
      order by f.position, f."offset" on conflict do nothing
      returning position, "offset"),
    added as (
      insert into sluice.retry (position, "offset", attempt, due, blocks, id, key, value, headers, "timestamp", error)
      select f.position, f."offset", f.attempt, f.due, f.blocks, f.id, f.key, f.value, f.headers, to_timestamp(f.timestamp_ms / 1000), f.error
      from failed f join marked m using (position, "offset")
      returning position, "offset")
    select f.number, case when a."offset" is null and d."offset" is null then 'already' else 'put off' end
    from failed f left join again a using (position, "offset") left join added d using (position, "offset");
end $$;
comment on function sluice.put_off_all(integer[], json) is 'Internal: keeps messages that failed until they are handed over again.';

-- Counts an attempt of messages that were put off, before they are handed over. Message i is p_offsets[i] of p_positions[i]
-- under p_epochs[i]. Returns those that still wait, whole, by that number; the others are done. epoch_holds is false, and
-- nothing else is told, for those whose position has another owner.
-- Locks: the fences of the positions, shared, ascending; then the rows.
create function sluice.begin_all_retries(p_positions integer[], p_epochs bigint[], p_offsets bigint[])
returns table (number integer, epoch_holds boolean, attempt integer, id text, key text, value text, headers text, timestamp_ms double precision, error text)
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
begin
  perform sluice.hold_fences(p_positions);
  return query
    with asked as materialized (
      select a.number::integer, a.position, a."offset",
        exists (select from sluice.position p where p.position = a.position and p.epoch = a.epoch) as epoch_holds
      from unnest(p_positions, p_epochs, p_offsets) with ordinality as a(position, epoch, "offset", number)),
    begun as (
      update sluice.retry r set attempt = r.attempt + 1, due = null
      from asked a where a.epoch_holds and r.position = a.position and r."offset" = a."offset"
      returning a.number, r.*)
    select a.number, a.epoch_holds, b.attempt, b.id, b.key, b.value, b.headers::text,
      (extract(epoch from b."timestamp") * 1000)::double precision, b.error
    from asked a left join begun b using (number)
    where not a.epoch_holds or b.number is not null;
end $$;
comment on function sluice.begin_all_retries(integer[], bigint[], bigint[]) is 'Internal: counts attempts before they are made.';

-- Messages that were put off are over: done, or given up. Numbered as above; returns the numbers of those whose position is still
-- the caller's.
-- Locks: the fences of the positions, shared, ascending; then the rows.
create function sluice.end_all_retries(p_positions integer[], p_epochs bigint[], p_offsets bigint[]) returns setof integer language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
begin
  perform sluice.hold_fences(p_positions);
  return query
    with asked as materialized (
      select a.number::integer, a.position, a."offset"
      from unnest(p_positions, p_epochs, p_offsets) with ordinality as a(position, epoch, "offset", number)
      join sluice.position p on p.position = a.position and p.epoch = a.epoch),
    gone as (
      delete from sluice.retry r using asked a where r.position = a.position and r."offset" = a."offset")
    select a.number from asked a;
end $$;
comment on function sluice.end_all_retries(integer[], bigint[], bigint[]) is 'Internal: forgets messages that are over.';
