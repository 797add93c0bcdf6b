-- Whether member $1 is paused. No row: it was removed.
-- Locks: none.
select floor(extract(epoch from paused_at) * 1000) as paused_at_ms, paused_by, paused_reason from sluice.member where member = $1
