-- The owner of position $1 in epoch $2 pauses it, for the reason $3.
-- Locks: see sluice.pause_position.
select sluice.pause_position($1, $2, $3) as outcome
