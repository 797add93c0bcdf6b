-- Sets what topic $1 refuses, forgets and bounds, and what it does about a send for which there is no room.
-- Locks: the row.
select sluice.guard_topic($1, $2::bigint, $3::bigint, $4::bigint, $5)
