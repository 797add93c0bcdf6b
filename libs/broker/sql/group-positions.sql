-- The positions of groups $1: which go to one owner (those of one bundle, the lanes of a partition), who took each last, whether
-- they are paused, and whether redriven messages wait for the owner; of what is being let go at a rate, which one (null: nothing
-- is) and since when.
-- (Asked all the time, while there is hardly ever a pause or a redriven message: looked at for each position only where there is one at all.)
-- Locks: none.
with released as materialized (
  select r."group", r.topic, r.messages, r.per_ms, extract(epoch from r.released_at)::double precision * 1000 as at_ms
  from sluice.release r
  where r."group" = any ($1::text::integer[]) and (r.until is null or r.until > clock_timestamp())
    and sluice.release_left(r."group", r.topic, r.ends) > 0
)
select p.position, p."group", p.topic, p.partition, p.owner, p.epoch::double precision as epoch,
  p.partition % (t.partitions / t.priorities) as bundle,
  case when exists (select from sluice.pause) then exists (
    select from sluice.pause s
    where s."group" = p."group" and (s.topic is null or s.topic = p.topic) and (s.partition is null or s.partition = p.partition)
  ) else false end as paused,
  case when exists (select from sluice.redriven) then exists (select from sluice.redriven r where r.position = p.position)
  else false end as redriven,
  r.messages as "releaseMessages", r.per_ms as "releasePerMs", r.at_ms as "releasedAtMs"
from sluice.position p
join sluice.topic t using (topic)
left join released r on r."group" = p."group" and r.topic = p.topic
where p."group" = any ($1::text::integer[])
order by p."group", p.topic, p.partition
