-- The positions of groups $1 and who took each last.
-- Locks: none.
select position, "group", topic, partition, owner from sluice.position where "group" = any ($1::text::integer[])
order by "group", topic, partition
