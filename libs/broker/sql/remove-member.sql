-- Member $1 leaves.
-- Locks: the row.
delete from sluice.member where member = $1
