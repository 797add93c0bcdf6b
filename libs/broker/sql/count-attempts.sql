-- Counts attempt $4 of messages $3 of positions $1, those whose epoch $2 holds, and says which are not to be handed over.
-- Locks: see sluice.count_attempts.
select number, outcome
from sluice.count_attempts($1::text::integer[], $2::text::bigint[], $3::text::bigint[], $4::text::integer[])
