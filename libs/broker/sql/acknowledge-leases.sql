-- Writes what is done ($3) of leases $1 of positions $2, and renews them for $4 ms; those returned were accepted.
-- Locks: see sluice.acknowledge_leases.
select lease from sluice.acknowledge_leases($1::text::bigint[], $2::text::integer[], $3::text::text[], $4) as lease
