-- Redriven message $3 of position $1, owned in epoch $2, is done.
-- Locks: see sluice.mark_redriven.
select sluice.mark_redriven($1, $2, $3) as outcome
