-- Takes position $1 over for member $2.
-- Locks: see sluice.take_position.
select epoch, next_offset, done_above from sluice.take_position($1, $2)
