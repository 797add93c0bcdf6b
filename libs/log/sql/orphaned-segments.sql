-- Tables of topic $1's segments that are no longer on the list; attached ones may be in the middle of being detached.
-- Locks: none.
select c.relname as name, i.inhrelid is not null as attached, coalesce(i.inhdetachpending, false) as detaching
from pg_class c
left join pg_inherits i on i.inhrelid = c.oid
where c.relnamespace = 'sluice_log'::regnamespace and c.relkind = 'r'
  and c.relname ~ format('^topic_%s_segment_\d+$', $1::integer)
  and substring(c.relname from '\d+$')::integer not in (select s.segment from sluice.segment s where s.topic = $1)
order by substring(c.relname from '\d+$')::integer
