-- Message $2 of position $1, in hand under claim $3, begins anew after error $4 when its group $5, which is paused in topic $6 for the reason $7,
-- is resumed. No row: it is in another hand, or was done in its transaction.
-- Locks: the row, which waits for its handler's transaction; see sluice.pause_group.
with off as (
  update sluice.shared_retry set claim = null, member = null, lease_until = null, attempt = 0, due = clock_timestamp(), error = $4
  where position = $1 and "offset" = $2 and claim = $3 returning position)
select position, sluice.pause_group($5, $6, null, $7) as paused from off
