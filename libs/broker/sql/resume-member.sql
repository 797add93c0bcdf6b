-- Ends the pause of member $1.
-- Locks: see sluice.resume_member.
select sluice.resume_member($1) as resumed
