-- Gives topic $1 up to $2 priorities, if it has fewer.
-- Locks: see sluice.raise_priorities.
select sluice.raise_priorities($1, $2)
