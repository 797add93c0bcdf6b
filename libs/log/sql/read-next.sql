-- The batches of one partition that begin at offset $2 or after it, within one segment: $3 at most. For one who has read
-- everything before $2: it takes half the time of read-batches.sql, which must look for the batch that holds an offset.
-- (A closed segment ends with an empty batch at offset 2^62.)
-- Locks: none.
select base_offset, count, floor(extract(epoch from appended_at) * 1000) as appended_at_ms, producer, sequence, keys, records, attributes
from sluice_log.topic_{topic}_segment_{segment}
where partition = $1 and base_offset >= $2 and base_offset < 4611686018427387904
order by base_offset
limit $3
