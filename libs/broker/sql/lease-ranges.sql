-- Leases member $1 the next range of each of those of positions $2 that are not paused, up to $3 offsets long, for $4 ms.
-- Locks: see sluice.lease_ranges.
select lease, position, from_offset, to_offset from sluice.lease_ranges($1, sluice.unpaused($2::text::integer[]), $3, $4)
