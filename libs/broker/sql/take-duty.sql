-- Takes duty $1 for owner $2, which is member $3. Null: another has it.
-- Locks: see sluice.take_free_duty.
select sluice.take_free_duty($1, $2, $3) as epoch
