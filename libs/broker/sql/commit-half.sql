-- Commits half message $1 on behalf of $2.
-- Locks: see sluice.commit_half.
select outcome, decided, message from sluice.commit_half($1::text::bigint, $2)
