-- Moves messages $3 of positions $1 out of leases $2, with $4 attempts begun: due in $5 ms, after errors $6, with keys $7; $8: it may have been
-- committed after all (all pairwise). Says which are not moved.
-- Locks: see sluice.move_all_to_retry.
select number, outcome
from sluice.move_all_to_retry($1::text::integer[], $2::text::bigint[], $3::text::bigint[], $4::text::integer[],
  $5::text::double precision[], $6::text::text[], $7::text::text[], $8::text::boolean[])
