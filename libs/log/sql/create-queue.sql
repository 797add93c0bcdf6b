-- Creates a topic that is a queue unless there is one of that name. (Looked up by another statement, as in create-topic.sql.)
-- Locks: see sluice.create_topic.
select sluice.create_queue($1, $2, $3, $4, $5, $6, $7, $8)
