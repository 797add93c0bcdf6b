-- Puts messages $2 of positions $1 off, those whose epoch holds.
-- Locks: see sluice.put_off_all.
select number, outcome from sluice.put_off_all($1::text::integer[], $2::text::json)
