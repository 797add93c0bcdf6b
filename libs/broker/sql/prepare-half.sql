-- Keeps a half message of topic $1 for partition $2: key $3, value $4, attributes $5, check-back $6, timeout $7 ms, $8 checks
-- at most, and then $9.
-- Locks: none.
select sluice.prepare_half($1, $2, $3, $4, $5, $6, $7, $8, $9)::text as half
