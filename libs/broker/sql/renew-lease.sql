-- Renews the lease of member $1 by $2 ms. No row: the member was removed, or lived by its lease and that has run out.
-- Locks: the row.
update sluice.member set lease_until = clock_timestamp() + make_interval(secs => $2::double precision / 1000)
where member = $1 and (not leased or lease_until > clock_timestamp()) returning member
