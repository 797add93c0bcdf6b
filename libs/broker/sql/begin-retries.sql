-- Counts an attempt of messages $3 of position $1, if epoch $2 still has it, and gives them.
-- Locks: see sluice.begin_retries.
select epoch_holds, "offset", attempt, id, key, value, headers, timestamp_ms, error from sluice.begin_retries($1, $2, $3::text::bigint[])
