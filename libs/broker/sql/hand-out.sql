-- Notes that message $3 of position $1 is handed over, if epoch $2 still has it; the first time counts $4.
-- Locks: see sluice.hand_out.
select sluice.hand_out($1, $2, $3, $4) as attempt
