-- Moves group $2 to where group $1 is; $3: tell only; $4: by force.
-- Locks: see sluice.move_positions.
select topic, partition, from_offset, to_offset, skipped, repeated, note
from sluice.clone_group($1, $2, $3, $4)
