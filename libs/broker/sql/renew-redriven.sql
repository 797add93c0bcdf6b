-- Renews the claims $3 of redriven messages $2 of positions $1 (all three pairwise) for $4 ms; those returned still hold.
-- Locks: the rows; waits for their handlers' transactions.
update sluice.redriven r set lease_until = clock_timestamp() + make_interval(secs => $4::double precision / 1000)
from unnest($1::text::integer[], $2::text::bigint[], $3::text::bigint[]) as c(position, "offset", claim)
where r.position = c.position and r."offset" = c."offset" and r.claim = c.claim returning r.claim
