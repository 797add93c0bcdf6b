-- What the server works on in this database: processes that are neither idle nor wait for their client, with what they were asked, and
-- whether for more than $1 milliseconds.
-- Locks: none.
select pid, query, query_start < clock_timestamp() - make_interval(secs => $1::double precision / 1000) as is_long
from pg_stat_activity
where datname = current_database() and state not like 'idle%' and wait_event_type is distinct from 'Client' and pid <> pg_backend_pid()
