-- Rings for whoever asked each question: inboxes in $1, what they asked in $2.
-- Locks: the notification queue's, until this statement's own commit.
select pg_notify('sluice_inbox_' || r.inbox, r.correlation) from unnest($1::text::text[], $2::text::text[]) as r(inbox, correlation)
