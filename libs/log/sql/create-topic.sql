-- Creates a topic unless there is one of that name, and tells what it is.
-- Locks: see sluice.create_topic.
select t.topic, t.name, t.partitions, t.encoding
from sluice.create_topic($1, $2, $3, $4, $5, $6, $7, $8) as created(topic)
join sluice.topic t on t.topic = created.topic
