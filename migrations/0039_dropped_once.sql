-- breaking: no
-- What was dropped is over, as what was buried is. Since a failure that is certain leaves no marker (0036), a message that was put off and then
-- dropped had nothing left that said so when its row was gone: where its position had not passed it, as with explicit commits or when the
-- process was killed before it wrote that, the next owner handed it over again, from its first attempt on. And moving what
-- failed in a shared group decides under the locks of the leases whether it is done: a repeat that had waited for its first try believed what it
-- had seen before, and failed, or put a message off once more that was done by then.

-- Drops messages: those of p_offsets at p_positions under p_epochs (all pairwise), put off before or not. Their rows go, and what a position
-- has not passed is marked as done, under the row of the position, so that it is not passed meanwhile. Numbered from 1; returns the numbers of
-- those whose position has another owner. Once more changes nothing.
-- Locks: for each position, ascending, its fence, shared, and the position, as for writing positions; then the messages' rows and their markers.
-- A marker is waited for as by sluice.bury: nobody who has one of these messages waits for its position.
create function sluice.drop_messages(p_positions integer[], p_epochs bigint[], p_offsets bigint[]) returns setof integer language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
declare
  v_position integer;
  v_epoch bigint;
  v_next bigint;
begin
  for v_position in select distinct p from unnest(p_positions) as p order by p loop
    perform pg_advisory_xact_lock_shared(1936487683, v_position);
    select p.epoch, p.next_offset into v_epoch, v_next from sluice.position p where p.position = v_position for share;
    delete from sluice.retry r using unnest(p_positions, p_epochs, p_offsets) as a(position, epoch, "offset")
    where a.position = v_position and a.epoch = v_epoch and r.position = v_position and r."offset" = a."offset";
    insert into sluice.done (position, "offset")
    select v_position, a."offset" from unnest(p_positions, p_epochs, p_offsets) as a(position, epoch, "offset")
    where a.position = v_position and a.epoch = v_epoch and a."offset" >= v_next
    order by a."offset" on conflict do nothing;
    return query
      select a.number::integer from unnest(p_positions, p_epochs) with ordinality as a(position, epoch, number)
      where a.position = v_position and a.epoch is distinct from v_epoch;
  end loop;
end $$;
comment on function sluice.drop_messages(integer[], bigint[], bigint[]) is 'Internal: drops messages that are given up and kept nowhere.';

-- As before, but what was waited for is looked at once more: whether a message is done is decided under the lock of its lease.
-- Moves messages that failed out of their leases into rows of their own: message i is p_offsets[i] of lease p_leases[i], and so on.
--   p_doubts  a transaction of its handler may have committed, and only the answer was lost: then it is done. Null: it may
-- Those that are done after all, or whose lease has another holder, are told, numbered from 1; the others are moved. Once more changes nothing,
-- also while the first try is still at work.
-- Locks: the fences of the positions, shared, ascending; markers; leases, ascending; then rows of sluice.shared_retry.
create or replace function sluice.move_all_to_retry(
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
    -- Who had to wait for a marker or a lease may find that an earlier try has moved the message meanwhile.
    select array_agg(f.number) into v_moved from (
      select m.number
      from unnest(v_moved) as m(number)
      join sluice.lease l on l.lease = p_leases[m.number] and l.position = p_positions[m.number]
      where not l.done @> p_offsets[m.number]
      order by l.lease for update of l) f;
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

-- As before, and here, too, what was waited for is looked at once more.
-- Locks: the fence of the position, shared; the message's marker, which waits for its handler's transaction; the lease's row; the new row.
create or replace function sluice.move_to_retry(
  p_position integer, p_lease bigint, p_offset bigint, p_attempt integer, p_delay_ms double precision, p_error text, p_key text,
  p_member integer, p_lease_ms bigint, out outcome text, out claim bigint
) language plpgsql as $$
declare
  v_is_done boolean;
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  select l.done @> p_offset into v_is_done from sluice.lease l where l.lease = p_lease and l.position = p_position;
  if not v_is_done then
    insert into sluice.done (position, "offset") values (p_position, p_offset) on conflict do nothing;
    if not found then
      outcome := 'done';
      return;
    end if;
    delete from sluice.done d where d.position = p_position and d."offset" = p_offset;
    -- An earlier try may have moved it while this one waited, and the lease may be gone.
    select l.done @> p_offset into v_is_done from sluice.lease l where l.lease = p_lease and l.position = p_position for update;
  end if;
  if v_is_done is null then
    outcome := 'fenced';
    return;
  end if;
  if v_is_done then
    -- Repeated, because the answer was lost.
    outcome := 'moved';
    claim := (select r.claim from sluice.shared_retry r
      where r.position = p_position and r."offset" = p_offset and r.member = p_member);
    return;
  end if;
  update sluice.lease l set done = l.done + int8multirange(int8range(p_offset, p_offset + 1)) where l.lease = p_lease;
  if p_member is not null then claim := nextval('sluice.claim_number'); end if;
  insert into sluice.shared_retry (position, "offset", attempt, due, error, key, claim, member, lease_until)
  values (p_position, p_offset, p_attempt,
    coalesce(clock_timestamp() + make_interval(secs => p_delay_ms / 1000), 'infinity'), p_error, p_key, claim, p_member,
    case when p_member is not null then clock_timestamp() + make_interval(secs => p_lease_ms::double precision / 1000) end);
  outcome := 'moved';
end $$;
