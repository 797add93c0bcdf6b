-- Writes one message of topic $1 for partition $2 to the outbox, in the caller's transaction: key $3, value $4, attributes $5. Nobody is
-- rung: who sends several, or rings, calls sluice.outbox_insert, which costs three times as much.
-- Locks: none that anybody waits for.
insert into sluice.outbox (topic, partition, key, value, attributes)
values ($1::text::integer, $2::text::integer, $3::text, $4::text, $5::text)
returning outbox::text as result
