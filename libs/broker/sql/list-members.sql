-- The processes that consume.
-- Locks: none.
select member, name, live, partitions::integer as partitions,
  floor(extract(epoch from started_at) * 1000) as started_at_ms, floor(extract(epoch from paused_since) * 1000) as paused_since_ms,
  paused_by, paused_reason
from sluice.members order by member
