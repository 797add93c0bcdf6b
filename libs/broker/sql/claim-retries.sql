-- Takes up to $3 messages of positions $2 that are due in hand for member $1, for $4 ms.
-- Locks: see sluice.claim_retries.
select position, "offset", attempt, claim from sluice.claim_retries($1, $2::text::integer[], $3, $4)
