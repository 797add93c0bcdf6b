-- In how many milliseconds the next redriven message of those of positions $1 that are not paused is due; null when none waits.
-- Locks: none.
select extract(epoch from min(due) - clock_timestamp()) * 1000 as in_ms from sluice.redriven
where position = any (sluice.unpaused($1::text::integer[])) and member is null
