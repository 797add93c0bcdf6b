-- Renews the claims $3 of messages $2 of positions $1 (all three pairwise) for $4 ms; those returned still hold.
-- Locks: the rows, ascending; waits for their handlers' transactions.
with held as (
  select r.position, r."offset" from sluice.shared_retry r
  join unnest($1::text::integer[], $2::text::bigint[], $3::text::bigint[]) as c(position, "offset", claim)
    on r.position = c.position and r."offset" = c."offset" and r.claim = c.claim
  order by r.position, r."offset" for update of r)
update sluice.shared_retry r set lease_until = clock_timestamp() + make_interval(secs => $4::double precision / 1000)
from held where r.position = held.position and r."offset" = held."offset" returning r.claim
