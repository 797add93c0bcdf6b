-- Moves group $1 in topic $2 by $3 messages, in partitions $4 (null: all); $5: tell only; $6: by force.
-- Locks: see sluice.move_positions.
select $2::text as topic, partition, from_offset, to_offset, skipped, repeated, note
from sluice.shift_position($1, $2, $3, $4::text::integer[], $5, $6)
