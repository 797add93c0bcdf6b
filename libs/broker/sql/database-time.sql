-- The time by the database's clock, exact.
-- Locks: none.
select clock_timestamp()::text as now
