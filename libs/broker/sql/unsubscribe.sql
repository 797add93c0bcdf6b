-- Member $1 takes part in nothing any more: the others share out what it has, and wait for it to give that back.
-- Locks: the rows.
delete from sluice.subscription where member = $1
