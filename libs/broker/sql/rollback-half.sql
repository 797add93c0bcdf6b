-- Discards half message $1 on behalf of $2.
-- Locks: see sluice.rollback_half.
select outcome, decided, message from sluice.rollback_half($1::text::bigint, $2)
