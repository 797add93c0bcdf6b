-- What is to be done about the segments of topic $1.
--   roll: the newest is older than the topic's segment_ms, or larger than its segment_bytes, and holds something
--   drop: all its records are older than retention_ms (the next segment began before then), or the topic takes more than
--         retention_bytes without it; never the newest
-- Locks: none.
with sized as (
  select s.segment, s.created_at, t.retention_ms, t.retention_bytes, t.segment_ms, t.segment_bytes,
    pg_total_relation_size(format('sluice_log.topic_%s_segment_%s', s.topic, s.segment)::regclass) as bytes,
    lead(s.created_at) over (order by s.segment) as closed_at
  from sluice.segment s join sluice.topic t on t.topic = s.topic where s.topic = $1
), summed as (
  select *, sum(bytes) over (order by segment desc) as bytes_from_here from sized
)
select segment,
  closed_at is null and (created_at < clock_timestamp() - make_interval(secs => segment_ms / 1000.0) or bytes > segment_bytes) as roll,
  closed_at is not null and coalesce(
    closed_at < clock_timestamp() - make_interval(secs => retention_ms / 1000.0) or bytes_from_here > retention_bytes, false) as drop
from summed order by segment
