-- The first offset of partition $2 of topic $1 that was appended at $3 (milliseconds) or later; the end when there is none.
-- Locks: none.
select sluice.offset_at($1, $2, to_timestamp($3::double precision / 1000)) as "offset"
