-- The positions of group $1 in topic $2, their epochs, whether they are paused, and whether redriven messages wait for them; of what is being
-- let go at a rate, which one (null: nothing is) and since when. All in one snapshot: what is resumed at a rate is seen with that.
-- Locks: none.
select p.position, p.partition, p.epoch::double precision as epoch, sluice.is_paused(p."group", p.topic, p.partition) as paused,
  exists (select from sluice.redriven r where r.position = p.position) as redriven,
  r.messages as "releaseMessages", r.per_ms as "releasePerMs", extract(epoch from r.released_at)::double precision * 1000 as "releasedAtMs"
from sluice.position p
left join lateral (
  select r.messages, r.per_ms, r.released_at from sluice.release r
  where r."group" = p."group" and r.topic = p.topic and (r.until is null or r.until > clock_timestamp())
    and sluice.release_left(r."group", r.topic, r.ends) > 0
) r on true
where p."group" = $1 and p.topic = $2 order by p.partition
