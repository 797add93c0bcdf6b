-- Ends process $1 of this user, which nobody hears any more: it has been idle, or has waited for its client, for a second. Waits as long for
-- its end, at most.
-- Locks: none.
select pg_terminate_backend(pid, 1000)
from pg_stat_activity
where
  pid = $1
  and datname = current_database()
  and usename = session_user
  and (state like 'idle%' or wait_event_type = 'Client')
  and state_change < clock_timestamp() - interval '1 second'
