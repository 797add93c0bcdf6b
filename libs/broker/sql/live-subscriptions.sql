-- Who is alive and not paused in groups $1, and for which topics.
-- Locks: none (pg_locks is a snapshot of the lock table).
select s."group", s.topic, s.member, s.single_active as "singleActive"
from sluice.subscription s
join sluice.member m on m.member = s.member and m.paused_at is null
join pg_locks l on l.locktype = 'advisory' and l.classid = 1936487685 and l.objid = s.member::oid and l.objsubid = 2 and l.granted
  and l.database = (select oid from pg_database where datname = current_database())
where s."group" = any ($1::text::integer[])
order by s."group", s.topic, s.member
