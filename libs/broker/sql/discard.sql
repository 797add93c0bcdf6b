-- Gives dead letters $1 up for good.
-- Locks: see sluice.discard.
select dead_letter, outcome from sluice.discard($1::text::bigint[])
