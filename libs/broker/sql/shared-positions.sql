-- The positions of group $1 in topic $2.
-- Locks: none.
select position, partition from sluice.position where "group" = $1 and topic = $2 order by partition
