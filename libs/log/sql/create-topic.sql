-- Creates a topic unless there is one of that name. (Looked up by another statement: this one's snapshot is older than it.)
-- Locks: see sluice.create_topic.
select sluice.create_topic($1, $2, $3, $4, $5, $6, $7, $8)
