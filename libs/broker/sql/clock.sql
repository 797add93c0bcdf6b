-- The database's clock in milliseconds since 1970.
-- Locks: none.
select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now_ms
