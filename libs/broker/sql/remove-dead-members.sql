-- Removes members whose session is gone. One that has just come may not have its lock yet.
-- Locks: the rows.
delete from sluice.member m
where m.started_at < clock_timestamp() - interval '10 seconds'
  and not exists (
    select from pg_locks l
    where l.locktype = 'advisory' and l.classid = 1936487685 and l.objid = m.member::oid and l.objsubid = 2 and l.granted
      and l.database = (select oid from pg_database where datname = current_database()))
