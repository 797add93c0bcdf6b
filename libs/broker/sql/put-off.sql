-- Puts messages $2 of positions $1 off, those whose epoch holds, and says which are not.
-- Locks: see sluice.keep_failures.
select number, outcome from sluice.keep_failures($1::text::integer[], $2::text::json)
