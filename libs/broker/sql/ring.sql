-- Rings the doorbell once for each payload.
-- Locks: the notification queue's, until this statement's own commit.
select pg_notify('sluice', ring) from unnest($1::text::text[]) as ring
