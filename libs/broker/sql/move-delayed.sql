-- Moves up to $3 messages, of $4 bytes, that are due into the log under epoch $1, looking from due time $2 on.
-- Locks: see sluice.move_delayed.
select moved, array_to_string(rings, ',') as rings, floor::text as floor, wait_ms
from sluice.move_delayed($1, $2::text::timestamptz, $3, $4)
