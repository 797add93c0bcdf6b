-- Member $1 takes part no more in what the process before it took part in, and it does not.
-- Locks: the rows.
delete from sluice.subscription where member = $1 and carried
