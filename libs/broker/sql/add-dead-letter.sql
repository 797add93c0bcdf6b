-- Keeps a message that a group could not handle. Repeated (after an answer that was lost), it changes nothing.
-- Locks: none.
insert into sluice.dead_letter ("group", topic, partition, "offset", id, key, value, headers, "timestamp", reason, error, attempts)
values ($1, $2, $3, $4, $5, $6, $7, $8::text::json, to_timestamp($9::double precision / 1000), $10, $11, $12)
on conflict ("group", topic, partition, "offset") do nothing
