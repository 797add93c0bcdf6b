-- Appends one record batch to topic {topic}; see migrations/0035_following.sql for the parameters.
-- Locks: appending to the partition.
select sluice_log.append_{topic}(
  {partitions}::integer, {counts}::integer, {keys}, {records}, {attributes},
  {producer}::bigint, {sequence}::bigint, {repeat}, {commit}, {ring})::text as offsets
