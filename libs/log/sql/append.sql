-- Appends record batches to topic {topic}; see migrations/0001_log.sql for the parameters.
-- Locks: appending, by partition ascending, until the end of the transaction.
select array_to_string(sluice_log.append_{topic}(
  $1::text::integer[], $2::text::integer[], $3, $4, $5, $6::bigint, $7::bigint, $8, $9, $10), ',') as offsets
