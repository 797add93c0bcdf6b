-- Pauses group $1, in topic $2 and partition $3 (null: all), for the reason $4.
-- Locks: see sluice.pause_group.
select sluice.pause_group($1, $2, $3, $4) as paused
