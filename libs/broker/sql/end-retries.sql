-- Forgets messages $3 of position $1, if epoch $2 still has it.
-- Locks: see sluice.end_retries.
select sluice.end_retries($1, $2, $3::text::bigint[]) as epoch_holds
