-- Keeps messages $2 of topic $1 until $3 ms since 1970, or for $4 ms; $5: wake the mover.
-- Locks: none that anybody waits for.
select sluice.delayed_insert($1, $2::text::json, $3::text::bigint, $4::text::bigint, $5) as numbers
