-- Keeps the answers of $1, as sluice.answer takes them, and rings for those who asked. Gives how many were kept.
-- Locks: see sluice.answer; an answer to the same question that is being committed elsewhere is waited for.
select sluice.answer($1::text::json, true) as kept
