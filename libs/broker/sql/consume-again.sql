-- Puts the message at offset $4 of partition $3 of topic $2 before group $1 once more.
-- Locks: see sluice.consume_again.
select sluice.consume_again($1, $2, $3, $4) as outcome
