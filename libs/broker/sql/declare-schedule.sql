-- Keeps a schedule: name $1, topic $2, cron $3 or every $4 ms, time zone $5, key $6, value $7, headers $8, missed $9, next tick
-- $10 ms since 1970, declared by $11, priority $12.
-- Locks: see sluice.declare_schedule.
select sluice.declare_schedule($1, $2, $3, $4::text::bigint, $5, $6, $7, $8, $9, $10::text::bigint, $11, $12)
