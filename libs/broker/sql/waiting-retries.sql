-- Messages of position $1 that wait to be handed over again, those that were in hand when their owner ended first.
-- Locks: none.
select r."offset", r.key, r.attempt, r.due is null as in_hand,
  greatest(0, extract(epoch from r.due - clock_timestamp()) * 1000)::double precision as due_in_ms
from sluice.retry r where r.position = $1
order by r.due is not null, r."offset"
