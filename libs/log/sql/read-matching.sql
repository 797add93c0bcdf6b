-- The records of one partition from offset $2 on that a filter lets through, within one segment: of at most $3 batches and,
-- after the first of them, of $5 records that it looks at; and of no further batch once $4 characters have been gathered.
-- A row is a batch with those of its records that match (with all of them where most do), or, with no indexes, the last
-- batch that was looked at, so that the reader knows how far this came. more: a limit cut it short.
-- {condition}, {keys} and {key} are made by filter-condition.ts; the filter's own texts are parameters from $6 on.
-- (A closed segment ends with an empty batch at offset 2^62.)
-- Locks: none. Only keys and attributes are looked at; a value that is stored out of line is only fetched when it is given.
with scanned as (
  select *, lead(base_offset) over (order by base_offset) is null as is_last
  from (
    select b.*, row_number() over before_it as number, sum(b.count) over before_it - b.count as records_before
    from (
      select * from sluice_log.topic_{topic}_segment_{segment}
      where partition = $1 and base_offset < 4611686018427387904 and base_offset >= coalesce((
        select base_offset from sluice_log.topic_{topic}_segment_{segment}
        where partition = $1 and base_offset <= $2 order by base_offset desc limit 1), 0)
      order by base_offset limit $3
    ) b
    window before_it as (order by b.base_offset rows unbounded preceding)
  ) counted
  where records_before < $5
), judged as (
  select s.*, m.indexes, m.matching_attributes, cardinality(m.indexes) * 2 < s.count as is_sparse,
    octet_length(s.records)::bigint * coalesce(cardinality(m.indexes), 0) / greatest(s.count, 1) as size
  from scanned s
  cross join lateral (
    select array_agg(r.index) as indexes, '[' || string_agg(coalesce(r.attributes::text, 'null'), ',') || ']' as matching_attributes
    from rows from (
      generate_series(0, s.count - 1), {keys} jsonb_array_elements(s.attributes::jsonb)
    ) r(index, {key} attributes)
    where s.base_offset + r.index >= $2 and {condition}
  ) m
), sized as (
  select *, sum(size) over (order by base_offset rows unbounded preceding) - size as before from judged
), picked as materialized (
  select z.*, case when z.is_sparse then (
    select array[
      '[' || string_agg(e.record::text, ',') || ']',
      case when z.keys is not null then '[' || string_agg(coalesce(e.key::text, 'null'), ',') || ']' end]
    from rows from (
      generate_series(0, z.count - 1), json_array_elements(z.records::json), json_array_elements(z.keys::json)
    ) e(index, record, key)
    where e.index = any (z.indexes)
  ) end as parts
  from sized z
  where before < $4 and (indexes is not null or is_last)
)
select base_offset, count, floor(extract(epoch from appended_at) * 1000) as appended_at_ms, producer, sequence,
  array_to_string(indexes, ',') as indexes, parts is not null as is_sparse,
  not is_last or number >= $3 or records_before + count >= $5 as more,
  case when indexes is not null then coalesce(parts[1], records) end as records,
  case when indexes is not null then case when parts is null then keys else parts[2] end end as keys,
  case when indexes is not null then case when parts is null then attributes else matching_attributes end end as attributes
from picked
order by base_offset
