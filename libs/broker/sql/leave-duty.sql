-- Lets duty $1 go, if epoch $2 still has it.
-- Locks: the row.
select sluice.leave_duty($1, $2)
