-- Redriven message $2 of position $1, in hand under claim $3, is over. No row: it is in another hand, or was done in its transaction.
-- Locks: the row; waits for its handler's transaction.
delete from sluice.redriven where position = $1 and "offset" = $2 and claim = $3 returning position
