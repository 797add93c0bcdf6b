-- Removes members whose session is gone, or whose lease has run out if they had none. One that has just come may not have its lock yet; a
-- static one may come back; and one whose positions nobody has taken yet is still told of, so that it can be said why they moved.
-- Locks: the rows.
delete from sluice.member m
where (m.started_at < clock_timestamp() - interval '10 seconds' or m.lease_until < clock_timestamp())
  and not sluice.is_awaited(m.static_id, m.lease_until)
  and (m.lease_until < clock_timestamp() - interval '1 hour' or not exists (select from sluice.position p where p.owner = m.member))
  and m.member not in (select sluice.live_members())
