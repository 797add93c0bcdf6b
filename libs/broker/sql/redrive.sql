-- Hands dead letters $1 to their groups once more.
-- Locks: see sluice.redrive.
select dead_letter, outcome from sluice.redrive($1::text::bigint[])
