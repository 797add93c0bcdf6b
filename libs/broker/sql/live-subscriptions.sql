-- Who is alive and not paused in groups $1, and for which topics.
-- Locks: none (see sluice.live_members).
select s."group", s.topic, s.member, s.single_active as "singleActive"
from sluice.subscription s
join sluice.member m on m.member = s.member and m.paused_at is null
join sluice.live_members() as l(member) on l.member = s.member
where s."group" = any ($1::text::integer[])
order by s."group", s.topic, s.member
