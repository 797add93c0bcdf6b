-- Takes position $1 over for member $2, who may hand $3 messages out before it writes the position.
-- Locks: see sluice.take_over.
select epoch, next_offset, done_above, suspect_to, crashes from sluice.take_over($1, $2, $3)
