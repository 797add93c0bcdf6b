-- breaking: no
-- What was suspected of ending a process is what it may have had in hand. An owner reserves some hundred messages beyond its position, also
-- where there are none yet: each end of a process, and each lost session of one that lived on, counted against whatever was sent there
-- next, and the third left it a single attempt. And a group that is moved begins anew: its owner was fenced by that, and did not end.

-- Takes a position over: waits until whatever its last owner has in flight has committed or failed, and raises the epoch,
-- so that nothing of the old owner commits afterwards. The caller holds the session lock of ownership and may hand out
-- p_reserve messages before it writes the position; 16 at most where two processes have ended.
-- Suspected is what was reserved, as far as the log goes: what lies behind its end was in nobody's hand.
-- Where the position is written by the handlers (explicit commits), another culprit may lie above the suspects while the position stays below
-- them: after several ends more the suspects are widened again.
-- What waits to be handed over again counts as done here: its row says what becomes of it. Markers that the position has passed are removed.
-- Locks: the fence of the position, exclusive.
create or replace function sluice.take_over(p_position integer, p_member integer, p_reserve integer)
returns table (epoch bigint, next_offset bigint, done_above text, suspect_to bigint, crashes integer) language plpgsql
set enable_seqscan = off as $$
declare
  v_handed_to bigint;
  v_crashes integer;
begin
  perform pg_advisory_xact_lock(1936487683, p_position);
  -- Under the fence nobody else writes it.
  select case when p.handed_to > p.next_offset then least(p.handed_to, sluice.end_offset(p.topic, p.partition)) else p.handed_to end
  into v_handed_to from sluice.position p where p.position = p_position;
  select case when v_handed_to > p.next_offset and p.next_offset < p.suspect_to then p.crashes + 1
    when v_handed_to > p.next_offset then 1
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
      suspect_to = case when v_handed_to <= p.next_offset then p.suspect_to
        when p.next_offset >= p.suspect_to then v_handed_to
        when p.crashes < 6 then least(p.suspect_to, v_handed_to)
        else greatest(p.suspect_to, v_handed_to) end,
      done_above = p.done_above + coalesce(
        (select range_agg(int8range(o."offset", o."offset" + 1)) from (
          select d."offset" from sluice.done d where d.position = p_position
          union all select r."offset" from sluice.retry r where r.position = p_position) o
        where o."offset" >= p.next_offset),
        '{}')
    where p.position = p_position
    returning p.epoch, p.next_offset, p.done_above::text, p.suspect_to, p.crashes;
end $$;

-- Moves positions, each to where p_to says (see sluice.find_offset), by p_by, or to where the group p_source is; within the
-- log. What was done above a position counts no more, and what waits to be tried again is forgotten: the log has it.
-- Raises the epoch, also where nobody is: an owner that was cut off may not know yet. And begins anew: whom it fences did not end, and
-- what was suspected of ending others is as good as any other message.
-- Of a shared group the leases go with it: what their holders write afterwards is refused, as they have none.
-- Locks: the fences, exclusive, ascending, until the transaction ends: it waits for what is in flight, and nothing of the old
-- owner commits afterwards; then leasing, ascending; then the rows. A dry run takes none.
create or replace function sluice.move_positions(
  p_act text, p_positions integer[], p_to text, p_by bigint, p_source integer, p_dry_run boolean, p_force boolean
) returns table (topic text, partition integer, from_offset bigint, to_offset bigint, skipped bigint, repeated bigint, note text)
language plpgsql as $$
#variable_conflict use_column
declare
  v_position record;
  v_owned text;
  v_wanted numeric;
  v_done int8multirange;
  v_moves json[] := '{}';
  v_subject text;
begin
  if not p_dry_run then
    for v_position in select unnest(p_positions) as position order by 1 loop
      perform pg_advisory_xact_lock(1936487683, v_position.position);
    end loop;
    -- A lease that is being given at this moment is given before this, and void, or after it.
    for v_position in select unnest(p_positions) as position order by 1 loop
      perform pg_advisory_xact_lock(1936487691, v_position.position);
    end loop;
    select string_agg(format('%s/%s', t.name, p.partition), ', ' order by t.name, p.partition) into v_owned
    from sluice.position p join sluice.topic t using (topic)
    where p.position = any (p_positions) and sluice.is_owned(p.position);
    if v_owned is not null and not p_force then
      raise exception 'sluice: members of the group are at work on %; nothing was moved', left(v_owned, 500) using errcode = 'SL030',
        hint = 'Stop them first, or pass force => true: what they have in flight is void then, and they go on from the new place.';
    end if;
  end if;
  for v_position in
    select p.*, t.name, g.name as group_name, sluice.start_offset(p.topic, p.partition) as start_offset,
      sluice.end_offset(p.topic, p.partition) as end_offset
    from sluice.position p join sluice.topic t using (topic) join sluice.consumer_group g using ("group")
    where p.position = any (p_positions) order by t.name, p.partition
  loop
    v_wanted := case when p_by is not null then v_position.next_offset::numeric + p_by
      when p_source is not null then (select s.next_offset from sluice.position s
        where s."group" = p_source and s.topic = v_position.topic and s.partition = v_position.partition)
      else sluice.find_offset(v_position.topic, v_position.partition, p_to) end;
    v_done := v_position.done_above + coalesce((
      select range_agg(int8range(d."offset", d."offset" + 1)) from sluice.done d
      where d.position = v_position.position and d."offset" >= v_position.next_offset), '{}') + coalesce((
      select range_agg(r) from sluice.lease l cross join lateral unnest(l.done) r where l.position = v_position.position), '{}');
    topic := v_position.name;
    partition := v_position.partition;
    from_offset := v_position.next_offset;
    to_offset := greatest(v_position.start_offset, least(v_position.end_offset, v_wanted));
    skipped := greatest(to_offset - from_offset, 0) - coalesce((
      select sum(upper(r) - lower(r)) from unnest(v_done * int8multirange(int8range(null, to_offset))) r), 0);
    repeated := greatest(least(from_offset, v_position.end_offset) - to_offset, 0) + coalesce((
      select sum(upper(r) - lower(r)) from unnest(v_done * int8multirange(int8range(to_offset, null))) r), 0);
    note := nullif(concat_ws('; ',
      case when v_wanted < to_offset then format('%s is before the log, which begins at %s', v_wanted, to_offset)
        when v_wanted > to_offset then format('%s is beyond the log, which ends at %s', v_wanted, to_offset) end,
      case when sluice.is_owned(v_position.position) then
        case when p_dry_run then 'a member is at work on it: needs force' else 'its member was fenced' end end), '');
    if not p_dry_run then
      update sluice.position p set next_offset = to_offset, done_above = '{}', epoch = p.epoch + 1, committed_at = clock_timestamp(),
        handed_to = 0, suspect_to = 0, crashes = 0
      where p.position = v_position.position;
      delete from sluice.handed_out h where h.position = v_position.position;
      delete from sluice.done d where d.position = v_position.position;
      delete from sluice.lease l where l.position = v_position.position;
      delete from sluice.shared_retry r where r.position = v_position.position;
      if to_regclass('sluice.retry') is not null then
        execute 'delete from sluice.retry where position = $1' using v_position.position;
      end if;
      v_moves := v_moves || json_build_object('position', v_position.position, 'topic', topic, 'partition', partition,
        'from', from_offset, 'to', to_offset, 'skipped', skipped, 'repeated', repeated);
      v_subject := format('group %s', v_position.group_name);
      perform pg_notify('sluice', 'group ' || v_position."group");
    end if;
    return next;
  end loop;
  if v_subject is not null then
    perform sluice.write_audit(p_act, v_subject, json_build_object('to', p_to, 'by', p_by,
      'source', (select g.name from sluice.consumer_group g where g."group" = p_source), 'forced', p_force, 'moves', array_to_json(v_moves)));
  end if;
end $$;
