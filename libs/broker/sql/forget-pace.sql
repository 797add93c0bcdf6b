-- Forgets $1 limits of keys that are idle.
-- Locks: see sluice.forget_pace.
select sluice.forget_pace($1) as forgotten
