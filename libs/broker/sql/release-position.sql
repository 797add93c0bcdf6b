-- Gives positions $1 back whose epochs $2 still have them; $3: why, as sluice.moves says; $4: they wait for their static member.
-- Locks: the rows, ascending.
select sluice.leave_position(o.position, o.epoch, $3, $4) from unnest($1::text::integer[], $2::text::bigint[]) o(position, epoch)
