-- Removes members whose session is gone, or whose lease has run out if they had none. One that has just come may not have its lock yet.
-- Locks: the rows.
delete from sluice.member m
where m.started_at < clock_timestamp() - interval '10 seconds' and m.member not in (select sluice.live_members())
