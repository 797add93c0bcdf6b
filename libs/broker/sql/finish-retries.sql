-- Messages $2 of positions $1, in hand under claims $3 (all pairwise), are over.
-- Locks: see sluice.finish_retries.
select sluice.finish_retries($1::text::integer[], $2::text::bigint[], $3::text::bigint[]) is null as over
