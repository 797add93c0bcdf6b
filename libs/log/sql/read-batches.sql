-- The batches of one partition from the one that holds offset $2 on, within one segment: at most $3 of them, and no further
-- one once $4 characters have been gathered (the first is always given).
-- (A closed segment ends with an empty batch at offset 2^62.)
-- Locks: none. The sizes come from the rows' headers; a value that is stored out of line is only fetched when it is given.
select base_offset, count, floor(extract(epoch from appended_at) * 1000) as appended_at_ms, producer, sequence, keys, records, attributes
from (
  select b.*, sum(octet_length(b.records)) over (order by b.base_offset rows unbounded preceding) - octet_length(b.records) as before
  from (
    select * from sluice_log.topic_{topic}_segment_{segment}
    where partition = $1 and base_offset < 4611686018427387904 and base_offset >= coalesce((
      select base_offset from sluice_log.topic_{topic}_segment_{segment}
      where partition = $1 and base_offset <= $2 order by base_offset desc limit 1), 0)
    order by base_offset limit $3
  ) b
) sized
where before < $4
order by base_offset
