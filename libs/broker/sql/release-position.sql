-- Gives position $1 back, if epoch $2 still has it.
-- Locks: the row.
select sluice.release_position($1, $2)
