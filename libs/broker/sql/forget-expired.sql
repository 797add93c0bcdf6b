-- Removes $1 expired rows at most of each table that has such.
-- Locks: see sluice.forget_expired.
select sluice.forget_expired($1) as gone
