-- Letter $3 of position $1 becomes a dead letter, if the position's epoch is $2 still.
-- Locks: see sluice.bury.
select sluice.bury($1, $2, $3::text::json) as outcome
