-- Every group in every topic, and how far it is.
-- Locks: none.
select "group", topic, partitions::integer as partitions, owned_partitions::integer as owned_partitions, working_members::integer as working_members,
  lag::double precision as lag, paused_partitions::integer as paused_partitions,
  floor(extract(epoch from paused_since) * 1000) as paused_since_ms, paused_by, paused_reason
from sluice.groups order by "group", topic
