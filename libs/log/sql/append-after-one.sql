-- Appends one record batch to topic {topic} if sequence {after} of the producer is in the log; see migrations/0035_following.sql.
-- Locks: appending to the partition.
select sluice_log.append_after_{topic}(
  {after}::bigint, {partitions}::integer, {counts}::integer, {keys}, {records}, {attributes},
  {producer}::bigint, {sequence}::bigint, {repeat}, {commit}, {ring})::text as offsets
