-- Sends schedule $2, as it was at revision $3, for ticks $4 and moves it on to $5, under epoch $1.
-- Locks: see sluice.fire_schedule.
select sluice.fire_schedule($1, $2, $3::text::bigint, $4::text::bigint[], $5::text::bigint) as fired
