-- Drops messages $3 of positions $1, those whose epoch $2 holds, and says which are another owner's.
-- Locks: see sluice.drop_messages.
select number from sluice.drop_messages($1::text::integer[], $2::text::bigint[], $3::text::bigint[]) as number
