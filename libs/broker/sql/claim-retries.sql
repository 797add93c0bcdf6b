-- Takes up to $3 messages of those of positions $2 that are not paused, which are due, in hand for member $1, for $4 ms.
-- Locks: see sluice.claim_retries.
select position, "offset", attempt, claim from sluice.claim_retries($1, sluice.unpaused($2::text::integer[]), $3, $4)
