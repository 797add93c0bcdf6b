-- Up to $3 half messages that are due to check-backs named $1 or of origins $2, leased for $4 ms.
-- Locks: see sluice.claim_halves.
select half::text as half, topic, partition, key, value, headers, check_back, checks, prepared_at_ms::text as prepared_at_ms
from sluice.claim_halves($1::text::text[], $2::text::text[], $3, $4)
