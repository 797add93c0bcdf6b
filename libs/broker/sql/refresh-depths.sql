-- Makes the functions again that count a bounded topic's messages and whose topic has a newer segment.
-- Locks: see sluice.refresh_depths.
select sluice.refresh_depths()
