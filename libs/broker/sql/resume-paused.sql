-- Makes due what a consumer was told to pause on, of positions $1.
-- Locks: the rows.
update sluice.shared_retry set due = clock_timestamp() where position = any ($1::text::integer[]) and due = 'infinity' and member is null
