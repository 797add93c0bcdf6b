-- Dead letters by number, from above $1 on, $2 at most; of group $3, topic $4, for reason $5, that died at $6 or later and before
-- $7 (milliseconds); each may be null.
-- Locks: none.
select dead_letter, "group", topic, partition, "offset", id, key, value::text as value, headers::text as headers,
  floor(extract(epoch from "timestamp") * 1000) as timestamp_ms, reason, error, attempts,
  floor(extract(epoch from died_at) * 1000) as died_at_ms, redrives, original_value::text as original_value,
  original_headers::text as original_headers, floor(extract(epoch from edited_at) * 1000) as edited_at_ms, edited_by
from sluice.dead_letters
where dead_letter > $1 and ($3::text is null or "group" = $3) and ($4::text is null or topic = $4) and ($5::text is null or reason = $5)
  and ($6::double precision is null or died_at >= to_timestamp($6 / 1000))
  and ($7::double precision is null or died_at < to_timestamp($7 / 1000))
order by dead_letter limit $2
