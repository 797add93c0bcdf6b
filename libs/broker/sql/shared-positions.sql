-- The positions of group $1 in topic $2, their epochs, whether they are paused, and whether redriven messages wait for them.
-- Locks: none.
select p.position, p.partition, p.epoch::double precision as epoch, sluice.is_paused(p."group", p.topic, p.partition) as paused,
  exists (select from sluice.redriven r where r.position = p.position) as redriven
from sluice.position p where p."group" = $1 and p.topic = $2 order by p.partition
