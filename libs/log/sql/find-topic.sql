-- The topic of a name, if there is one.
-- Locks: none.
select topic, name, partitions, encoding from sluice.topic where name = $1
