-- Redriven message $2 of position $1, in hand under claim $3, is a dead letter again, for the reason $4, after error $5 and $6 attempts.
-- Locks: see sluice.bury_claimed.
select sluice.bury_claimed($1, $2, $3, $4, $5, $6) as outcome
