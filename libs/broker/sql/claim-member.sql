-- Makes process $2, named $3, behind server process $4, the static member $1 with a lease of $5 ms; $6: it was that before; $7: it has no
-- session, and lives by its lease alone.
-- Locks: see sluice.claim_member.
select sluice.claim_member($1, $2, $3, $4, $5, $6, $7) as member
