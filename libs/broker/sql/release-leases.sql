-- Gives leases $1 back.
-- Locks: the rows.
select sluice.release_leases($1::text::bigint[])
