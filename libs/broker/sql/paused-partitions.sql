-- Which partitions are paused of topics $2 in groups $1, pairwise.
-- Locks: none.
select g."group", t.topic, n.partition
from unnest($1::text::integer[], $2::text::integer[]) as g("group", topic)
join sluice.topic t on t.topic = g.topic
cross join lateral generate_series(0, t.partitions - 1) as n(partition)
where sluice.is_paused(g."group", t.topic, n.partition)
