-- Reserves $4 messages of group $1 in topic $2 for key $3, one every $5 ms, a rate in force since $6 (ms since 1970); gives in how
-- many ms the first may go.
-- Locks: see sluice.reserve_pace.
select sluice.reserve_pace($1, $2, $3, $4, $5, to_timestamp($6::double precision / 1000)) as wait_ms
