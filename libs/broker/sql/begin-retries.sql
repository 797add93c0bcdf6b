-- Counts attempts $4 of messages $3 of positions $1, those whose epoch $2 holds, and gives them.
-- Locks: see sluice.begin_all_retries.
select number, epoch_holds, attempt, id, key, value, headers, timestamp_ms, error, appended_ms, time_to_live_ms
from sluice.begin_all_retries($1::text::integer[], $2::text::bigint[], $3::text::bigint[], $4::text::integer[])
