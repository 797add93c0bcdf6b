-- Moves up to $3 messages, of some 8 MiB, from the outbox into the log under epoch $1, looking from snapshot $2 on.
-- Locks: see sluice.relay.
select moved, array_to_string(rings, ',') as rings, snapshot::text as snapshot from sluice.relay($1, $2::text::pg_snapshot, $3)
