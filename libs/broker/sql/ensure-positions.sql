-- Positions of group $1 in topic $2, beginning at $3 where there are none.
-- Locks: rows of sluice.position.
select sluice.ensure_positions($1, $2, $3)
