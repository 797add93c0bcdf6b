-- Notes that the check-back of half message $1 could not tell, but said $2.
-- Locks: the row.
select sluice.note_half($1::text::bigint, $2)
