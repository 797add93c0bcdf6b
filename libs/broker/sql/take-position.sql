-- Takes position $1 over for member $2, who may hand $3 messages out before it writes the position. No row: another member that lives has it.
-- Locks: see sluice.take_free.
select epoch, next_offset, done_above, suspect_to, crashes from sluice.take_free($1, $2, $3)
