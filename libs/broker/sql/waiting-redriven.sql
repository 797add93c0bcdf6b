-- Redriven messages of position $1 that wait, the lowest offsets first, $2 at most, without those numbered $3.
-- Locks: none.
select redriven, "offset", attempts, id, key, value, headers::text as headers, floor(extract(epoch from "timestamp") * 1000) as timestamp_ms
from sluice.redriven
where position = $1 and redriven <> all ($3::text::bigint[])
order by "offset" limit $2
