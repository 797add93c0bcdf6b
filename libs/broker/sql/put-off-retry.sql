-- Message $2 of position $1, in hand under claim $3, is tried again in $4 ms (null: never by itself) after error $5; $6 is how many
-- attempts count. No row: it is in another hand, or was done in its transaction.
-- Locks: the row; waits for its handler's transaction.
update sluice.shared_retry set claim = null, member = null, lease_until = null, attempt = coalesce($6::integer, attempt),
  due = coalesce(clock_timestamp() + make_interval(secs => $4::double precision / 1000), 'infinity'), error = coalesce($5, error)
where position = $1 and "offset" = $2 and claim = $3 returning position
