-- Leases member $1 the next range of each of the first $3 of positions $2, most urgent first, that are not paused and have something; up
-- to $4 offsets long, for $5 ms. A position that another member emptied in between comes without a lease.
-- Locks: see sluice.lease_ranges.
with ready as materialized (
  select r.position, r.number from sluice.ready_positions(sluice.unpaused($2::text::integer[]), $3) with ordinality r(position, number)
), leased as materialized (
  select * from sluice.lease_ranges($1, (select array_agg(r.position) from ready r), $4, $5)
)
select r.position, l.lease, l.from_offset, l.to_offset from ready r left join leased l using (position) order by r.number
