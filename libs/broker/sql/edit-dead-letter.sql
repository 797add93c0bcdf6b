-- Changes value ($2) and headers ($3) of dead letter $1; null leaves them.
-- Locks: see sluice.edit_dead_letter.
select sluice.edit_dead_letter($1, $2::text::json, $3::text::json) as outcome
