-- Appends record batches to topic {topic}; see migrations/0035_following.sql for the parameters.
-- Locks: appending, by partition ascending, until the end of the transaction.
select array_to_string(sluice_log.append_{topic}(
  {partitions}::text::integer[], {counts}::text::integer[], {keys}, {records}, {attributes},
  {producer}::bigint, {sequence}::bigint, {repeat}, {commit}, {ring}{hints}), ',') as offsets
