-- What time it is, in milliseconds since 1970.
-- Locks: none.
select floor(extract(epoch from clock_timestamp()) * 1000) as now_ms
