-- Positions of group $1 in topic $2, beginning at $3 (earliest, latest, an offset, or a time) where there are none.
-- Locks: rows of sluice.position.
select sluice.ensure_positions_at($1, $2, $3)
