-- Where the partitions $2 of topics $1 (pairwise) begin and end.
-- Locks: none.
select p.topic, p.partition, sluice.start_offset(p.topic, p.partition) as start_offset, sluice.end_offset(p.topic, p.partition) as end_offset
from unnest($1::text::integer[], $2::text::integer[]) as p(topic, partition)
