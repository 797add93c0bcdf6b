-- Schedules whose next tick is not known, has come, or comes within a second, and the time by the database's clock; $1 at most.
-- Locks: none.
select schedule, name, cron, every_ms, time_zone, missed, revision,
  floor(extract(epoch from next_at) * 1000)::bigint as next_ms,
  floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now_ms
from sluice.schedule
where not paused and (next_at is null or next_at <= clock_timestamp() + interval '1 second')
order by next_at nulls first limit $1
