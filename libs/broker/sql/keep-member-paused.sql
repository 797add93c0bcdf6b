-- Member $1 is paused since $2 (ms since 1970), by $3 for the reason $4, as its process was under the number before.
-- Locks: the row.
update sluice.member set paused_at = to_timestamp($2::double precision / 1000), paused_by = $3, paused_reason = $4 where member = $1
