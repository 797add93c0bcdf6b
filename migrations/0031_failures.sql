-- breaking: no
-- Failures cost less: no statement compares every message with every other one, what nearly all of them come to is not said, and who
-- hands a message over from memory has its attempt counted without reading it. The functions before them stay for processes that still
-- call them; messages that a new owner finds are begun by sluice.begin_all_retries.

-- As sluice.put_off_all, from which it differs in what it returns: the numbers of messages that are not put off. 'already', it was done
-- after all (its transaction committed and the answer was lost); 'fenced', its position has another owner.
-- Locks: the fences of the positions, shared, ascending; then rows of retries and done markers.
create function sluice.keep_failures(p_positions integer[], p_messages json) returns table (number integer, outcome text) language plpgsql
-- By primary keys, whatever the statistics say: the tables are nearly always empty but may be bloated.
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
begin
  perform sluice.hold_fences(p_positions);
  return query
    with asked as materialized (
      select m.*, clock_timestamp() + make_interval(secs => m.delay_ms / 1000) as due,
        m.position = any (p_positions)
          and exists (select from sluice.position p where p.position = m.position and p.epoch = m.epoch) as holds
      from json_to_recordset(p_messages) as m(
        number integer, position integer, epoch bigint, "offset" bigint, first boolean, attempt integer, delay_ms double precision,
        blocks text, id text, key text, value text, headers json, timestamp_ms double precision, error text,
        appended_ms double precision, time_to_live_ms bigint)),
    again as (
      update sluice.retry r set attempt = f.attempt, due = f.due, error = f.error, failed_at = clock_timestamp()
      from asked f where f.holds and r.position = f.position and r."offset" = f."offset"
      returning r.position, r."offset"),
    marked as (
      insert into sluice.done (position, "offset")
      select f.position, f."offset" from asked f
      where f.holds and f.first and not exists (select from sluice.retry r where r.position = f.position and r."offset" = f."offset")
      order by f.position, f."offset" on conflict do nothing
      returning position, "offset"),
    added as (
      insert into sluice.retry (position, "offset", attempt, due, blocks, id, key, value, headers, "timestamp", error, appended_at, time_to_live_ms)
      select f.position, f."offset", f.attempt, f.due, f.blocks, f.id, f.key, f.value, f.headers, to_timestamp(f.timestamp_ms / 1000), f.error,
        to_timestamp(f.appended_ms / 1000), f.time_to_live_ms
      from asked f
      -- By the hash of a subquery: a join would compare all with all, as the two have no index.
      where f.first and (f.position, f."offset") in (select m.position, m."offset" from marked m))
    select f.number, case when f.holds then 'already' else 'fenced' end
    from asked f
    where not f.holds
      or ((f.position, f."offset") not in (select a.position, a."offset" from again a)
        and (f.position, f."offset") not in (select m.position, m."offset" from marked m));
end $$;
comment on function sluice.keep_failures(integer[], json) is 'Internal: keeps messages that failed until they are handed over again.';

-- Counts an attempt of messages that were put off and are in their owner's memory, before they are handed over: message i is p_offsets[i]
-- of p_positions[i] under p_epochs[i], and p_attempts[i] begins. Counting it once more changes nothing.
-- Returns the numbers of those that are not to be handed over: 'gone', it is done already; 'fenced', its position has another owner.
-- Locks: the fences of the positions, shared, ascending; then the rows.
create function sluice.count_attempts(p_positions integer[], p_epochs bigint[], p_offsets bigint[], p_attempts integer[])
returns table (number integer, outcome text) language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
declare
  v_counted integer;
begin
  perform sluice.hold_fences(p_positions);
  update sluice.retry r set attempt = a.attempt, due = null
  from unnest(p_positions, p_epochs, p_offsets, p_attempts) as a(position, epoch, "offset", attempt)
  where r.position = a.position and r."offset" = a."offset"
    and exists (select from sluice.position p where p.position = a.position and p.epoch = a.epoch);
  get diagnostics v_counted = row_count;
  if v_counted = cardinality(p_offsets) then return; end if;
  return query
    select a.number::integer, case when h.holds then 'gone' else 'fenced' end
    from unnest(p_positions, p_epochs, p_offsets) with ordinality as a(position, epoch, "offset", number)
    cross join lateral (
      select exists (select from sluice.position p where p.position = a.position and p.epoch = a.epoch) as holds) h
    where not h.holds
      or not exists (select from sluice.retry r where r.position = a.position and r."offset" = a."offset");
end $$;
comment on function sluice.count_attempts(integer[], bigint[], bigint[], integer[]) is 'Internal: counts attempts before they are made.';

-- Messages that were put off are over: done, or given up. Numbered as above; returns the numbers of those whose position has another owner.
-- Locks: the fences of the positions, shared, ascending; then the rows.
create function sluice.settle_retries(p_positions integer[], p_epochs bigint[], p_offsets bigint[]) returns setof integer language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
declare
  v_gone integer;
begin
  perform sluice.hold_fences(p_positions);
  delete from sluice.retry r
  using unnest(p_positions, p_epochs, p_offsets) as a(position, epoch, "offset")
  where r.position = a.position and r."offset" = a."offset"
    and exists (select from sluice.position p where p.position = a.position and p.epoch = a.epoch);
  get diagnostics v_gone = row_count;
  if v_gone = cardinality(p_offsets) then return; end if;
  return query
    select a.number::integer
    from unnest(p_positions, p_epochs) with ordinality as a(position, epoch, number)
    where not exists (select from sluice.position p where p.position = a.position and p.epoch = a.epoch);
end $$;
comment on function sluice.settle_retries(integer[], bigint[], bigint[]) is 'Internal: forgets messages that are over.';
