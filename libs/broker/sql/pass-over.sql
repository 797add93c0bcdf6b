-- The owner of position $1 in epoch $2 passes over messages $3 that were dropped. Null: it has another owner.
-- Locks: see sluice.pass_over.
select sluice.pass_over($1, $2, $3::text::int8multirange) as counted
