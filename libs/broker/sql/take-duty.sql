-- Takes duty $1 for owner $2.
-- Locks: see sluice.take_duty.
select sluice.take_duty($1, $2) as epoch
