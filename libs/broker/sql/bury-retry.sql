-- Message $14 of position $13, in hand under claim $15, becomes a dead letter ($1 to $12, as in add-dead-letter.sql). No row: it is in
-- another hand, or was done in its transaction.
-- Locks: the row; waits for its handler's transaction.
with gone as (delete from sluice.shared_retry where position = $13 and "offset" = $14 and claim = $15 returning position),
kept as (
  insert into sluice.dead_letter ("group", topic, partition, "offset", id, key, value, headers, "timestamp", reason, error, attempts)
  select $1, $2, $3, $4, $5, $6, $7, $8::text::json, to_timestamp($9::double precision / 1000), $10, $11, $12 from gone
  on conflict ("group", topic, partition, "offset") do nothing)
select position from gone
