-- In how many milliseconds the next message of those of positions $1 that are not paused is due; null when none waits.
-- Locks: none.
select extract(epoch from min(next.due) - clock_timestamp()) * 1000 as in_ms
from unnest(sluice.unpaused($1::text::integer[])) as p(position)
cross join lateral (
  select r.due from sluice.shared_retry r
  where r.position = p.position and r.member is null and r.due < 'infinity' order by r.due limit 1) next
