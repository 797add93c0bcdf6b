-- The positions of groups $1: which go to one owner (those of one bundle, the lanes of a partition), who took each last, whether
-- they are paused, and whether redriven messages wait for the owner.
-- Locks: none.
select p.position, p."group", p.topic, p.partition, p.owner, p.epoch::double precision as epoch,
  p.partition % (t.partitions / t.priorities) as bundle,
  exists (
    select from sluice.pause s
    where s."group" = p."group" and (s.topic is null or s.topic = p.topic) and (s.partition is null or s.partition = p.partition)
  ) as paused,
  exists (select from sluice.redriven r where r.position = p.position) as redriven
from sluice.position p join sluice.topic t using (topic) where p."group" = any ($1::text::integer[])
order by p."group", p.topic, p.partition
