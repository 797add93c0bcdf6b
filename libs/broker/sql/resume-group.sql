-- Ends the pauses of group $1, of topic $2 and partition $3 (null: all).
-- Locks: see sluice.resume_group.
select sluice.resume_group($1, $2, $3) as ended
