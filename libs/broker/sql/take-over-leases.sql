-- Takes up to $3 ranges of positions $2 that nobody works on any more over for member $1, for $4 ms.
-- Locks: see sluice.take_over_leases.
select lease, position, from_offset, to_offset, done, deliveries from sluice.take_over_leases($1, $2::text::integer[], $3, $4)
