-- Forgets rates of what is worked off.
-- Locks: see sluice.forget_releases.
select sluice.forget_releases() as forgotten
