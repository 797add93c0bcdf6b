-- The topic of a name, if there is one, with its guards.
-- Locks: none.
select t.topic, t.name, t.partitions, t.priorities, t.encoding, g.deduplicate_ms, g.max_depth, g.time_to_live_ms, g.overflow,
  sluice.drops(t.topic) as drops
from sluice.topic t left join sluice.guard g using (topic) where t.name = $1
