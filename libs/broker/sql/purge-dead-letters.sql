-- Gives up dead letters that died before $1 (milliseconds), of group $2 and topic $3, either of which may be null.
-- Locks: see sluice.purge_dead_letters.
select sluice.purge_dead_letters(to_timestamp($1::double precision / 1000), $2, $3) as purged
