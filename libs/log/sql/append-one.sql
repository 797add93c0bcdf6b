-- Appends one record batch to topic {topic}; see migrations/0001_log.sql for the parameters.
-- Locks: appending to the partition.
select sluice_log.append_{topic}(
  $1::integer, $2::integer, $3, $4, $5, $6::bigint, $7::bigint, $8, $9, $10)::text as offsets
