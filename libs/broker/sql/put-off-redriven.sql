-- Redriven message $2 of position $1, in hand under claim $3, is tried again in $4 ms; $5 is how many attempts count. No row: it is in
-- another hand, or was done in its transaction.
-- Locks: the row; waits for its handler's transaction.
update sluice.redriven set claim = null, member = null, lease_until = null, attempts = coalesce($5::integer, attempts),
  due = clock_timestamp() + make_interval(secs => $4::double precision / 1000)
where position = $1 and "offset" = $2 and claim = $3 returning position
