-- Every topic.
-- Locks: none.
select topic, name, partitions, encoding from sluice.topic order by topic
