-- breaking: no
-- Messages of shared groups that fail are written down together, and in the order of all other locks: leases, then positions. Moving one
-- locked its position first (by the foreign key of its row) and its lease afterwards, and acknowledging the other way round: as soon as
-- one message in a hundred failed, the two waited for each other for a second at a time, until one was ended as a deadlock.

-- Moves messages out of their leased ranges into rows of their own, to be tried again: message i is p_offsets[i] of lease p_leases[i] of
-- position p_positions[i], with p_attempts[i] begun, due in p_delays_ms[i], after p_errors[i], with key p_keys[i].
-- Returns the numbers of those that are not moved: 'done', its handler's transaction has committed after all; 'fenced', the lease is another
-- member's by now. Moving one once more changes nothing.
-- Locks: the fences of the positions, shared, ascending; the messages' markers, which wait for their handlers' transactions; the leases'
-- rows, ascending; the positions' rows by the new rows' foreign keys, ascending.
create function sluice.move_all_to_retry(
  p_positions integer[], p_leases bigint[], p_offsets bigint[], p_attempts integer[], p_delays_ms double precision[], p_errors text[],
  p_keys text[]
) returns table (number integer, outcome text) language plpgsql
-- By primary keys, whatever the statistics say: the tables are nearly always empty but may be bloated.
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
  v_moved integer[];
begin
  perform sluice.hold_fences(p_positions);
  -- Whose marker can be had was not done by a transaction of its handler. The markers are not kept: the leases say it from here on.
  with asked as materialized (
    select a.number::integer, a.position, a."offset"
    from unnest(p_positions, p_leases, p_offsets) with ordinality as a(position, lease, "offset", number)
    join sluice.lease l on l.lease = a.lease and l.position = a.position
    where not l.done @> a."offset"),
  marked as (
    insert into sluice.done (position, "offset") select a.position, a."offset" from asked a order by a.position, a."offset"
    on conflict do nothing returning position, "offset")
  select array_agg(a.number) into v_moved from asked a
  where (a.position, a."offset") in (select m.position, m."offset" from marked m);
  if v_moved is not null then
    delete from sluice.done d using unnest(v_moved) as m(number)
    where d.position = p_positions[m.number] and d."offset" = p_offsets[m.number];
    perform from sluice.lease l where l.lease = any (select p_leases[m.number] from unnest(v_moved) as m(number)) order by l.lease for update;
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
comment on function sluice.move_all_to_retry(integer[], bigint[], bigint[], integer[], double precision[], text[], text[]) is 'Internal: moves messages of leased ranges into rows of their own.';

-- As before, the lease before the new row.
-- Locks: the fence of the position, shared; the message's marker, which waits for its handler's transaction; the lease's row; the position's
-- row by the new row's foreign key.
create or replace function sluice.move_to_retry(
  p_position integer, p_lease bigint, p_offset bigint, p_attempt integer, p_delay_ms double precision, p_error text, p_key text,
  p_member integer, p_lease_ms bigint, out outcome text, out claim bigint
) language plpgsql as $$
declare
  v_is_done boolean;
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  select l.done @> p_offset into v_is_done from sluice.lease l where l.lease = p_lease and l.position = p_position;
  if not found then
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
  insert into sluice.done (position, "offset") values (p_position, p_offset) on conflict do nothing;
  if not found then
    outcome := 'done';
    return;
  end if;
  delete from sluice.done d where d.position = p_position and d."offset" = p_offset;
  update sluice.lease l set done = l.done + int8multirange(int8range(p_offset, p_offset + 1)) where l.lease = p_lease;
  if p_member is not null then claim := nextval('sluice.claim_number'); end if;
  insert into sluice.shared_retry (position, "offset", attempt, due, error, key, claim, member, lease_until)
  values (p_position, p_offset, p_attempt,
    coalesce(clock_timestamp() + make_interval(secs => p_delay_ms / 1000), 'infinity'), p_error, p_key, claim, p_member,
    case when p_member is not null then clock_timestamp() + make_interval(secs => p_lease_ms::double precision / 1000) end);
  outcome := 'moved';
end $$;

-- Messages that failed before are over: message i is p_offsets[i] of position p_positions[i], in hand under claim p_claims[i]. Those in
-- another hand, or done in their handlers' transactions, are left as they are.
-- Locks: the fences of the positions, shared, ascending; then the rows, ascending, which waits for their handlers' transactions.
create function sluice.finish_retries(p_positions integer[], p_offsets bigint[], p_claims bigint[]) returns void language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
begin
  perform sluice.hold_fences(p_positions);
  perform from unnest(p_positions, p_offsets, p_claims) as a(position, "offset", claim)
    join sluice.shared_retry r on r.position = a.position and r."offset" = a."offset" and r.claim = a.claim
    order by r.position, r."offset" for update of r;
  delete from sluice.shared_retry r using unnest(p_positions, p_offsets, p_claims) as a(position, "offset", claim)
  where r.position = a.position and r."offset" = a."offset" and r.claim = a.claim;
end $$;
comment on function sluice.finish_retries(integer[], bigint[], bigint[]) is 'Internal: forgets messages of shared groups that failed before and are over.';

-- As before, with less to look at. By the index, in order, partition by partition: what is not due yet is not read, and what was deleted is
-- remembered as such by the next one who passes. And who asks is alive, so its own messages are in its hand until their time has run out:
-- asking who else lives costs more than the rest together, and nearly all that is in hand is one's own.
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
  update sluice.shared_retry r set attempt = r.attempt + 1, claim = nextval('sluice.claim_number'), member = p_member,
    lease_until = clock_timestamp() + make_interval(secs => p_lease_ms::double precision / 1000)
  from due where r.position = due.position and r."offset" = due."offset"
  returning r.position, r."offset", r.attempt, r.claim
$$;
