-- Moves message $3 of position $1 out of lease $2, with $4 attempts begun: due in $5 ms, after error $6, with key $7; in the hand of
-- member $8 for $9 ms, if one is given.
-- Locks: see sluice.move_to_retry.
select outcome, claim from sluice.move_to_retry($1, $2, $3, $4, $5, $6, $7, $8, $9)
