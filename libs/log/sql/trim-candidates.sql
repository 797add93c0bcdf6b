-- What is to be done about the segments of topic $1.
--   roll: the newest is older than the topic's segment_ms, or larger than its segment_bytes, and holds something. A queue ($3 is given)
--         that is not worked off rolls less and less often: with n segments, n times segment_ms apart
--   drop: all its records are older than retention_ms (the next segment began before then), or the topic takes more than
--         retention_bytes without it, or all of them lie below $3 (an offset per partition; null: none does); never the newest,
--         and never one with something at or above $2 (an offset per partition; null: as it may)
-- Locks: none.
with sized as (
  select s.segment, s.created_at, t.retention_ms, t.retention_bytes, t.segment_ms, t.segment_bytes,
    pg_total_relation_size(format('sluice_log.topic_%s_segment_%s', s.topic, s.segment)::regclass) as bytes,
    lead(s.created_at) over (order by s.segment) as closed_at,
    lead(s.segment) over (order by s.segment) as next_segment,
    count(*) over () as segments
  from sluice.segment s join sluice.topic t on t.topic = s.topic where s.topic = $1
), bounded as (
  select s.segment,
    bool_and(n.start_offset = f.start_offset or ($2::text::bigint[])[f.partition + 1] is null
      or n.start_offset <= ($2::text::bigint[])[f.partition + 1]) as may_go,
    bool_and(n.start_offset = f.start_offset
      or coalesce(n.start_offset <= ($3::text::bigint[])[f.partition + 1], false)) as is_consumed
  from sized s
  join sluice.segment_start f on f.topic = $1 and f.segment = s.segment
  join sluice.segment_start n on n.topic = $1 and n.segment = s.next_segment and n.partition = f.partition
  group by s.segment
), summed as (
  select *, sum(bytes) over (order by segment desc) as bytes_from_here from sized
)
select s.segment,
  s.closed_at is null and (
    s.created_at < clock_timestamp() - make_interval(secs => s.segment_ms * case when $3 is null then 1 else s.segments end / 1000.0)
    or s.bytes > s.segment_bytes) as roll,
  s.closed_at is not null and b.may_go and coalesce(
    s.closed_at < clock_timestamp() - make_interval(secs => s.retention_ms / 1000.0) or s.bytes_from_here > s.retention_bytes
    or ($3 is not null and b.is_consumed), false) as drop
from summed s left join bounded b using (segment) order by s.segment
