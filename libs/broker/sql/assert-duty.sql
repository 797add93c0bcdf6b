-- Refuses, with SQLSTATE SL001, one whose epoch $2 of duty $1 is over.
-- Locks: see sluice.assert_duty.
select sluice.assert_duty($1, $2)
