-- Counts attempt $4 of redriven message $3 of position $1, owned in epoch $2.
-- Locks: see sluice.begin_redriven.
select sluice.begin_redriven($1, $2, $3, $4) as attempts
