-- Forgets messages $3 of positions $1, those whose epoch $2 holds, and says which.
-- Locks: see sluice.end_all_retries.
select number from sluice.end_all_retries($1::text::integer[], $2::text::bigint[], $3::text::bigint[]) as number
