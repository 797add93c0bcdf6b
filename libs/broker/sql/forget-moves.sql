-- Removes old moves, $1 at most.
-- Locks: see sluice.forget_moves.
select sluice.forget_moves($1) as gone
