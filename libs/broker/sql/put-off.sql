-- Puts messages $3 of position $1 off, if epoch $2 still has it.
-- Locks: see sluice.put_off.
select "offset", outcome from sluice.put_off($1, $2, $3::text::json)
