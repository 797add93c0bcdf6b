-- Takes up to $3 ranges that nobody works on any more, of those of positions $2 that are not paused, over for member $1, for $4 ms.
-- Locks: see sluice.take_over_leases.
select lease, position, from_offset, to_offset, done, deliveries
from sluice.take_over_leases($1, sluice.unpaused($2::text::integer[]), $3, $4)
