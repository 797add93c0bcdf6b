-- Sets what topic $1 refuses, forgets and bounds.
-- Locks: the row.
select sluice.guard_topic($1, $2::bigint, $3::bigint, $4::bigint)
