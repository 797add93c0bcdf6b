-- Member $2, which has no session, lets duty $1 go.
-- Locks: the row.
update sluice.duty set member = null where duty = $1 and member = $2
