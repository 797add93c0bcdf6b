-- Who takes part in groups $1 and is not paused, and for which topics: who lives, and static members that are awaited back.
-- Locks: none (see sluice.live_members).
select s."group", s.topic, s.member, s.single_active as "singleActive", s.assignment, m.static_id as "staticId"
from sluice.subscription s
join sluice.member m on m.member = s.member and m.paused_at is null
left join sluice.live_members() as l(member) on l.member = s.member
where s."group" = any ($1::text::integer[]) and (l.member is not null or sluice.is_awaited(m.static_id, m.lease_until))
order by s."group", s.topic, s.member
