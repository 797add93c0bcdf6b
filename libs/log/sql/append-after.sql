-- Appends record batches to topic {topic} if sequence {after} of the producer is in the log; see migrations/0035_following.sql.
-- Locks: appending, by partition ascending, until the end of the transaction.
select array_to_string(sluice_log.append_after_{topic}(
  {after}::bigint, {partitions}::text::integer[], {counts}::text::integer[], {keys}, {records}, {attributes},
  {producer}::bigint, {sequence}::bigint, {repeat}, {commit}, {ring}{hints}), ',') as offsets
