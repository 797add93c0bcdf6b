-- Pauses member $1 for the reason $2.
-- Locks: see sluice.pause_member.
select sluice.pause_member($1, $2) as paused
