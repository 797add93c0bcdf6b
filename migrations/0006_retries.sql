-- breaking: no
-- Retries that survive the process. What failed leaves the log: it becomes a row here, and the position moves on.
--
-- A message that is handed over for the first time leaves no trace, so that the ordinary case costs nothing. What an owner
-- writes instead is how far it may have handed out (position.handed_to, with every write of the position). When it ends without
-- giving the position back, the next owner knows which messages may have been the cause: at first it goes on as if nothing had
-- happened, for most processes die of something else; when the same messages see a second process end, it hands them over
-- one by one and notes each before (sluice.handed_out), so that only the culprit pays.

alter table sluice.position
  add column handed_to bigint not null default 0,
  add column suspect_to bigint not null default 0,
  add column crashes integer not null default 0;
comment on column sluice.position.handed_to is 'Messages from next_offset up to here may be in a handler''s hands; 0 when the position was given back.';
comment on column sluice.position.suspect_to is 'Messages below were possibly being handled when a process ended.';
comment on column sluice.position.crashes is 'Processes that ended while next_offset was below suspect_to.';

-- (No foreign keys, as with sluice.done: their checks would lock the position's row on behalf of every message.)
create table sluice.retry (
  position integer not null,
  "offset" bigint not null,
  attempt integer not null,
  due timestamptz,
  blocks text not null,
  id text not null,
  key text,
  value text not null,
  headers json not null,
  "timestamp" timestamptz not null,
  error text not null,
  failed_at timestamptz not null default clock_timestamp(),
  constraint retry_pkey primary key (position, "offset"),
  constraint retry_attempt_range check (attempt >= 0),
  constraint retry_blocks_known check (blocks in ('partition', 'key', 'nothing'))
) with (fillfactor = 70);
comment on table sluice.retry is 'Messages that failed and wait to be handed over again. Their position has passed them. See the view sluice.retries.';
comment on column sluice.retry.attempt is 'How often it was handed over, counted when that happens; 0 when it begins anew.';
comment on column sluice.retry.due is 'When it will be handed over again; null while it is in a handler''s hands.';
comment on column sluice.retry.blocks is 'What waits for it: its partition, the messages of its key, or nothing.';

create table sluice.handed_out (
  position integer not null,
  "offset" bigint not null,
  attempt integer not null,
  constraint handed_out_pkey primary key (position, "offset"),
  constraint handed_out_attempt_range check (attempt >= 1)
);
comment on table sluice.handed_out is 'Messages that saw processes end, and how often they were handed over since; gone when the position has passed them.';

-- Takes a position over: waits until whatever its last owner has in flight has committed or failed, and raises the epoch,
-- so that nothing of the old owner commits afterwards. The caller holds the session lock of ownership and may hand out
-- p_reserve messages before it writes the position. (The second version: sluice.take_position knows nothing of crashes.)
-- Locks: the fence of the position, exclusive.
create function sluice.take_over(p_position integer, p_member integer, p_reserve integer)
returns table (epoch bigint, next_offset bigint, done_above text, suspect_to bigint, crashes integer) language plpgsql as $$
begin
  perform pg_advisory_xact_lock(1936487683, p_position);
  return query
    update sluice.position p set
      epoch = p.epoch + 1,
      owner = p_member,
      handed_to = p.next_offset + p_reserve,
      crashes = case when p.handed_to > p.next_offset and p.next_offset < p.suspect_to then p.crashes + 1
        when p.handed_to > p.next_offset then 1
        when p.next_offset < p.suspect_to then p.crashes
        else 0 end,
      suspect_to = greatest(p.suspect_to, p.handed_to),
      done_above = p.done_above + coalesce(
        (select range_agg(int8range(d."offset", d."offset" + 1)) from sluice.done d where d.position = p_position and d."offset" >= p.next_offset),
        '{}')
    where p.position = p_position
    returning p.epoch, p.next_offset, p.done_above::text, p.suspect_to, p.crashes;
end $$;
comment on function sluice.take_over(integer, integer, integer) is 'Takes a position over under a new epoch, and tells what may have ended its last owner.';

-- Writes positions of one owner, each under its epoch, and folds away the markers they cover. Returns the positions written;
-- one that is missing has another owner by now.
-- Locks: the fences, shared, ascending; then the rows, ascending.
create function sluice.commit_positions(
  p_positions integer[], p_epochs bigint[], p_next_offsets bigint[], p_done_above text[], p_handed_to bigint[])
returns setof integer language plpgsql as $$
begin
  for i in 1 .. cardinality(p_positions) loop
    perform pg_advisory_xact_lock_shared(1936487683, p_positions[i]);
    update sluice.position p set
      next_offset = p_next_offsets[i], done_above = p_done_above[i]::int8multirange, handed_to = p_handed_to[i],
      committed_at = clock_timestamp()
    where p.position = p_positions[i] and p.epoch = p_epochs[i] and p.next_offset <= p_next_offsets[i];
    if found then
      delete from sluice.done d where d.position = p_positions[i] and d."offset" < p_next_offsets[i];
      delete from sluice.handed_out h where h.position = p_positions[i] and h."offset" < p_next_offsets[i];
      return next p_positions[i];
    end if;
  end loop;
end $$;
comment on function sluice.commit_positions(integer[], bigint[], bigint[], text[], bigint[]) is 'Writes positions under their epochs; returns those that were accepted.';

-- Gives a position back: nobody owns it, and nothing of it is in anybody's hands. The caller lets go of the session lock afterwards.
-- Locks: the row.
create or replace function sluice.release_position(p_position integer, p_epoch bigint) returns void language sql
begin atomic
  update sluice.position set owner = null, handed_to = 0 where position = p_position and epoch = p_epoch;
end;

-- The last statement of a handler's own transaction: this message is done if and only if the transaction commits.
-- Returns 'done'; 'already' when it was done before; 'fenced' when the position has another owner. Other than after
-- 'done', the caller rolls back.
-- A message that waits to be handed over again is done when its row goes: whoever comes second waits for that row, and finds it gone.
-- Locks: the fence of the position, shared, until the transaction ends: a takeover waits for it; then the row of the retry.
create or replace function sluice.mark_done(p_position integer, p_epoch bigint, p_offset bigint) returns text language plpgsql as $$
declare
  v_next bigint;
  v_done boolean;
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  select next_offset into v_next from sluice.position where position = p_position and epoch = p_epoch;
  if not found then return 'fenced'; end if;
  delete from sluice.retry where position = p_position and "offset" = p_offset;
  v_done := found;
  if p_offset >= v_next then
    insert into sluice.done (position, "offset") values (p_position, p_offset) on conflict do nothing;
    v_done := v_done or found;
  end if;
  return case when v_done then 'done' else 'already' end;
end $$;

-- Puts messages off that failed: from now on their rows say what becomes of them, and the position may pass them.
-- messages: [{"offset", "first", "attempt", "delay_ms", "blocks", "id", "key", "value", "headers", "timestamp_ms", "error"}, …], values as text.
-- first: it has no row yet. Returns for each 'put off', or 'already' when it was done after all (its transaction committed and
-- the answer was lost); no row at all when the position has another owner.
-- A first failure is marked as done, or finds that it is, or that its transaction is being committed at this moment: then it
-- waits for that. A later one finds its row gone instead.
-- Locks: the fence of the position, shared; then rows of retries and done markers.
create function sluice.put_off(p_position integer, p_epoch bigint, p_messages json)
returns table ("offset" bigint, outcome text) language plpgsql as $$
#variable_conflict use_column
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  perform from sluice.position where position = p_position and epoch = p_epoch;
  if not found then return; end if;
  return query
    with failed as materialized (
      select m.*, clock_timestamp() + make_interval(secs => m.delay_ms / 1000) as due
      from json_to_recordset(p_messages) as m(
        "offset" bigint, first boolean, attempt integer, delay_ms double precision, blocks text, id text, key text, value text,
        headers json, timestamp_ms double precision, error text)),
    again as (
      update sluice.retry r set attempt = f.attempt, due = f.due, error = f.error, failed_at = clock_timestamp()
      from failed f where r.position = p_position and r."offset" = f."offset"
      returning r."offset"),
    marked as (
      insert into sluice.done (position, "offset")
      select p_position, f."offset" from failed f
      where f.first and not exists (select from sluice.retry r where r.position = p_position and r."offset" = f."offset")
      order by f."offset" on conflict do nothing
      returning "offset"),
    added as (
      insert into sluice.retry (position, "offset", attempt, due, blocks, id, key, value, headers, "timestamp", error)
      select p_position, f."offset", f.attempt, f.due, f.blocks, f.id, f.key, f.value, f.headers, to_timestamp(f.timestamp_ms / 1000), f.error
      from failed f join marked m using ("offset")
      returning "offset")
    select f."offset", case when a."offset" is null and d."offset" is null then 'already' else 'put off' end
    from failed f left join again a using ("offset") left join added d using ("offset");
end $$;
comment on function sluice.put_off(integer, bigint, json) is 'Internal: keeps messages that failed until they are handed over again.';

-- Counts an attempt of messages that were put off, before they are handed over. Returns those that still wait, whole; the
-- others are done. epoch_holds is false, in one row, when the position has another owner.
-- Locks: the fence of the position, shared; then the rows.
create function sluice.begin_retries(p_position integer, p_epoch bigint, p_offsets bigint[])
returns table (epoch_holds boolean, "offset" bigint, attempt integer, id text, key text, value text, headers text, timestamp_ms double precision, error text)
language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  perform from sluice.position p where p.position = p_position and p.epoch = p_epoch;
  if not found then
    epoch_holds := false;
    return next;
    return;
  end if;
  return query
    update sluice.retry r set attempt = r.attempt + 1, due = null
    where r.position = p_position and r."offset" = any (p_offsets)
    returning true, r."offset", r.attempt, r.id, r.key, r.value, r.headers::text, (extract(epoch from r."timestamp") * 1000)::double precision, r.error;
end $$;
comment on function sluice.begin_retries(integer, bigint, bigint[]) is 'Internal: counts an attempt before it is made.';

-- Messages that were put off are over: done, or given up. Returns whether the position is still the caller's.
-- Locks: the fence of the position, shared; then the rows.
create function sluice.end_retries(p_position integer, p_epoch bigint, p_offsets bigint[]) returns boolean language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  perform from sluice.position where position = p_position and epoch = p_epoch;
  if not found then return false; end if;
  delete from sluice.retry where position = p_position and "offset" = any (p_offsets);
  return true;
end $$;
comment on function sluice.end_retries(integer, bigint, bigint[]) is 'Internal: forgets messages that are over.';

-- Notes that a message that has seen processes end is handed over, before it is, and returns how often that makes. The first
-- note counts p_first. Null when the position has another owner.
-- Locks: the fence of the position, shared; then the row.
create function sluice.hand_out(p_position integer, p_epoch bigint, p_offset bigint, p_first integer) returns integer language plpgsql as $$
declare
  v_attempt integer;
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  perform from sluice.position where position = p_position and epoch = p_epoch;
  if not found then return null; end if;
  insert into sluice.handed_out as h (position, "offset", attempt) values (p_position, p_offset, p_first)
  on conflict (position, "offset") do update set attempt = h.attempt + 1
  returning h.attempt into v_attempt;
  return v_attempt;
end $$;
comment on function sluice.hand_out(integer, bigint, bigint, integer) is 'Internal: notes that a suspicious message is handed over.';

create view sluice.retries as
select g.name as "group", t.name as topic, p.partition, r."offset", r.id, r.key, r.value::json as value, r.headers, r."timestamp",
  r.attempt, r.due, r.due is null as in_hand, r.blocks, r.error, r.failed_at
from sluice.retry r
join sluice.position p using (position)
join sluice.consumer_group g on g."group" = p."group"
join sluice.topic t on t.topic = p.topic;
comment on view sluice.retries is 'Sluice: messages that failed and wait to be handed over again, and what waits for them.';
comment on column sluice.retries.attempt is 'How often it was handed over.';
comment on column sluice.retries.due is 'When it will be handed over again; null while it is in a handler''s hands.';
comment on column sluice.retries.blocks is 'partition: nothing of its partition is handed over meanwhile. key: nothing of its key. nothing: all else goes on.';
