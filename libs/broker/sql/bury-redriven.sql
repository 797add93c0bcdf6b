-- Redriven message $3 of position $1, owned in epoch $2, is a dead letter again.
-- Locks: see sluice.bury_redriven.
select sluice.bury_redriven($1, $2, $3, $4, $5, $6) as outcome
