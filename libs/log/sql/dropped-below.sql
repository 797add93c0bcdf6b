-- Below which offset messages of partition $2 of topic $1 were dropped to make room; null: none.
-- Locks: none.
select sluice.dropped_below($1, $2) as below
