-- The migrations that were applied, in order.
-- Parameters: none. Locks: none beyond a read.
select number, name, hash, breaking from sluice.migrations order by number
