-- The answers that there are to the questions $2 of inbox $1, $3 of them at most.
-- Locks: none.
select r.correlation, r.value, r.failure from sluice.reply r
where r.inbox = $1 and r.correlation = any ($2::text::text[]) limit $3
