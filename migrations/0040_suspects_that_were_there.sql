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
