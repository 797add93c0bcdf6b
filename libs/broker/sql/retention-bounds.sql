-- Where the groups of topic $1 are, per partition, and whether it is a queue.
-- Locks: none.
select b.partition, b.consumed_to, b.protected_from, t.retention_consumed as is_queue
from sluice.topic t cross join lateral sluice.retention_bounds(t.topic) b where t.topic = $1 order by b.partition
