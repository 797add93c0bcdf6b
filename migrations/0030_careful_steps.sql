-- breaking: no
-- Where two processes have ended over the same messages the next owner goes in steps of 16, and only when a third one ends are those that were in
-- hand with all three handed over one by one. Noting each of some hundred messages took longer than it took, in a group that saw many
-- ends, until the next one.

-- Takes a position over: waits until whatever its last owner has in flight has committed or failed, and raises the epoch,
-- so that nothing of the old owner commits afterwards. The caller holds the session lock of ownership and may hand out
-- p_reserve messages before it writes the position; 16 at most where two processes have ended.
-- Where the position is written by the handlers (explicit commits), another culprit may lie above the suspects while the position stays below
-- them: after several ends more the suspects are widened again.
-- Locks: the fence of the position, exclusive.
create or replace function sluice.take_over(p_position integer, p_member integer, p_reserve integer)
returns table (epoch bigint, next_offset bigint, done_above text, suspect_to bigint, crashes integer) language plpgsql as $$
declare
  v_crashes integer;
begin
  perform pg_advisory_xact_lock(1936487683, p_position);
  -- Under the fence nobody else writes it.
  select case when p.handed_to > p.next_offset and p.next_offset < p.suspect_to then p.crashes + 1
    when p.handed_to > p.next_offset then 1
    when p.next_offset < p.suspect_to then p.crashes
    else 0 end into v_crashes from sluice.position p where p.position = p_position;
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
        (select range_agg(int8range(d."offset", d."offset" + 1)) from sluice.done d where d.position = p_position and d."offset" >= p.next_offset),
        '{}')
    where p.position = p_position
    returning p.epoch, p.next_offset, p.done_above::text, p.suspect_to, p.crashes;
end $$;
