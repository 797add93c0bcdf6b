-- Takes up to $3 redriven messages of those of positions $2 that are not paused, which are due, in hand for member $1, for $4 ms.
-- Locks: see sluice.claim_redriven.
select position, redriven, "offset", attempts, claim, id, key, value, headers::text as headers,
  floor(extract(epoch from "timestamp") * 1000) as timestamp_ms
from sluice.claim_redriven($1, sluice.unpaused($2::text::integer[]), $3, $4)
